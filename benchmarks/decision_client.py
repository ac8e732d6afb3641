"""The client of `decision.py` does as little Python work as possible between the socket and the
clock.

    python -m benchmarks.decision_client '{"port": 8100, "connections": 32, "seconds": 3}' < BODIES

It reads one body a line from stdin and sends them in turns. The loop is closed, or with "rate"
open, with latency from the scheduled send. The decision and the echo get the same client.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from dataclasses import asdict, dataclass
from itertools import cycle
from time import monotonic_ns, process_time_ns
from typing import Any

import uvloop

from rdv.load.generator.arrivals import make_pacer


@dataclass(frozen=True)
class Measured:
    """The figures of one run. Latencies are in microseconds; the first tenth of the answers is left
    out.
    """

    answers: int
    per_s: float
    p50_us: float
    p99_us: float
    worst_us: float
    client_us: float
    """CPU time of the client for one request, in microseconds."""
    kinds: dict[str, int]


class Connection(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due_ns = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]

    def send(self, due_ns: int) -> None:
        self.due_ns = due_ns
        self.write(next(self.load.requests))

    def data_received(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        data = self.rest + data
        body_at = data.find(b"\r\n\r\n") + 4
        length_at = data.find(b"Content-Length: ") + 16
        length = int(data[length_at : data.index(b"\r", length_at)]) if body_at > 3 else 1
        if body_at < 4 or len(data) < body_at + length:
            self.rest = data
            return
        self.rest = b""
        self.load.answered(self, now_ns, data)


class Load:
    """Sends requests to a server for some seconds."""

    def __init__(self, port: int, connections: int, seconds: float, rate: float = 0.0) -> None:
        self.port, self.connections, self.seconds = port, connections, seconds
        self.every_ns = int(1e9 / rate) if rate else 0
        bodies = sys.stdin.buffer.read().splitlines()
        self.requests = cycle([_request(body) for body in bodies])
        self.taken_ns: list[int] = []
        self.kinds: dict[bytes, int] = {}
        self.idle: list[Connection] = []
        self.waiting: deque[int] = deque()
        self.end_ns = 2**63

    async def run(self) -> Measured:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port))[1]
            for _ in range(self.connections)
        ]
        cpu_ns, start_ns = process_time_ns(), monotonic_ns()
        self.end_ns = start_ns + int(self.seconds * 1e9)
        if self.every_ns:
            self.idle = clients
            await self.pace(start_ns)
        else:
            for client in clients:
                client.send(monotonic_ns())
            await asyncio.sleep(self.seconds)
        await asyncio.sleep(0.2)
        count = len(self.taken_ns)
        cpu_us = (process_time_ns() - cpu_ns) / 1e3 / count
        taken = sorted(self.taken_ns[count // 10 :])
        at = len(taken) - 1
        p50, p99, worst = (taken[int(at * part)] / 1e3 for part in (0.5, 0.99, 1))
        kinds = {kind.decode(): seen for kind, seen in self.kinds.items()}
        return Measured(count, count / self.seconds, p50, p99, worst, cpu_us, kinds)

    async def pace(self, due_ns: int) -> None:
        over = asyncio.get_running_loop().create_future()

        def send_due() -> None:
            nonlocal due_ns
            while due_ns <= monotonic_ns() and due_ns < self.end_ns:
                if self.idle:
                    self.idle.pop().send(due_ns)
                else:
                    self.waiting.append(due_ns)
                due_ns += self.every_ns
            if due_ns < self.end_ns:
                pacer.wake_at(due_ns)
            elif not over.done():
                over.set_result(None)

        pacer = make_pacer(send_due)
        pacer.wake_at(due_ns)
        await over
        pacer.close()

    def answered(self, client: Connection, now_ns: int, data: bytes) -> None:
        self.taken_ns.append(now_ns - client.due_ns)
        at = data.find(b'"kind":"') + 8
        kind = data[at : at + 7]  # "preferr", "fallbac", "default"; anything of an echo
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.waiting:
            client.send(self.waiting.popleft())
        elif self.every_ns:
            self.idle.append(client)
        elif now_ns < self.end_ns:
            client.send(now_ns)


def _request(body: bytes) -> bytes:
    return (
        b"POST /v1/decide HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def main() -> None:
    work: dict[str, Any] = json.loads(sys.argv[1])

    async def drive() -> Measured:
        return await Load(**work).run()

    print(json.dumps(asdict(uvloop.run(drive()))))


if __name__ == "__main__":
    main()
