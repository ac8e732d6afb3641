"""Compare rdv.http with the upper limit: a bare HTTP echo on httptools + uvloop.

    python -m benchmarks.http_echo [seconds]

Server and client are separate processes; the client is as bare as the echo. Machines are noisy: the
bare echo and rdv.http take turns, and the ratio of the medians matters.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from statistics import median
from time import monotonic_ns, process_time_ns

import httptools
import uvloop

from benchmarks.report import Figure, show

BODY = b'{"data":[0.1,0.2,0.3,0.4,0.5],"key":"user-12345"}'
REQUEST = (
    b"POST /v1/decide HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@dataclass(frozen=True)
class Measured:
    """The figures of one run of a client. In an open loop, latency counts from the scheduled
    send.
    """

    per_s: float
    p50_us: float
    p99_us: float


class Echo:
    """An echo in a process of its own: "bare", the upper limit for all benchmarks, or "door" for
    rdv.http.

    `cpu_ns` is the CPU time that the process has used after its start, once it has ended.
    """

    def __init__(self, kind: str) -> None:
        command = [sys.executable, "-m", "benchmarks.http_echo", "--serve", kind]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.idle_ns = int(self._process.stdout.readline())
        self.cpu_ns = 0

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        said, _nothing = self._process.communicate()
        self.cpu_ns = int(said) - self.idle_ns


def measure(
    port: int, connections: int, seconds: float, rate: float = 0.0, request: bytes = REQUEST
) -> Measured:
    """Send requests from a separate process: in a closed loop, or in an open loop at `rate` a
    second.
    """
    work = {"port": port, "connections": connections, "seconds": seconds, "rate": rate}
    command = [sys.executable, "-m", "benchmarks.http_echo", "--drive", json.dumps(work)]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True)
    return Measured(**json.loads(done.stdout))


class BareEcho(asyncio.Protocol):
    """Do as little as possible: look at no headers, check no limits, keep no order."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


async def serve(kind: str) -> None:
    loop = asyncio.get_running_loop()
    if kind == "bare":
        listening = await loop.create_server(BareEcho, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
    else:
        from rdv.http import HttpServer, Router

        routes = {"/v1/decide": {"POST": lambda request: request.respond(200, request.body)}}
        _, port = await HttpServer(Router(routes)).start("127.0.0.1", 0)
    print(port, process_time_ns(), sep="\n", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(process_time_ns())


class Client(asyncio.Protocol):
    """A client with one request at a time. All answers have one length, learned from the first."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.due_ns = 0
        self.missing = 0
        self.length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due_ns: int) -> None:
        self.due_ns = due_ns
        self.missing = self.length
        self.transport.write(self.drive.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.length:
            head, _, _ = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), data
            body = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            self.length = self.missing = len(head) + 4 + body
        self.missing -= len(data)
        if self.missing <= 0:
            now_ns = monotonic_ns()
            self.drive.answered(self, now_ns, now_ns - self.due_ns)


class Drive:
    """Run a closed loop (rate 0), or send every 1/rate s whatever the answers do."""

    def __init__(self, port: int, connections: int, seconds: float, rate: float) -> None:
        self.request = sys.stdin.buffer.read()
        self.port, self.connections, self.seconds = port, connections, seconds
        self.every_ns = int(1e9 / rate) if rate else 0
        self.taken_ns: list[int] = []
        self.idle: list[Client] = []
        self.waiting: deque[int] = deque()

    async def run(self) -> Measured:
        loop = asyncio.get_running_loop()
        self.end_ns = 2**63
        clients = [
            (await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port))[1]
            for _ in range(self.connections)
        ]
        start_ns = monotonic_ns()
        self.end_ns = start_ns + int(self.seconds * 1e9)
        if self.every_ns:
            self.idle = clients
            await self.pace(start_ns)
        else:
            for client in clients:
                client.send(monotonic_ns())
            await asyncio.sleep(self.seconds)
        await asyncio.sleep(0.1)
        taken = sorted(self.taken_ns[len(self.taken_ns) // 10 :])
        at = len(taken) - 1
        per_s = len(self.taken_ns) / self.seconds
        return Measured(per_s, taken[at // 2] / 1e3, taken[int(at * 0.99)] / 1e3)

    async def pace(self, due_ns: int) -> None:
        """Send by a spinning clock, which is precise; the client has a core to itself."""
        while due_ns < self.end_ns:
            now_ns = monotonic_ns()
            while due_ns <= now_ns:
                if self.idle:
                    self.idle.pop().send(due_ns)
                else:
                    self.waiting.append(due_ns)
                due_ns += self.every_ns
            await asyncio.sleep(0)

    def answered(self, client: Client, now_ns: int, taken_ns: int) -> None:
        self.taken_ns.append(taken_ns)
        if self.every_ns:
            if self.waiting:
                client.send(self.waiting.popleft())
            else:
                self.idle.append(client)
        elif now_ns < self.end_ns:
            client.send(now_ns)


def take_turns(
    seconds: float, connections: int, rate: float = 0.0, rounds: int = 5
) -> dict[str, list[dict[str, float]]]:
    """Run the bare echo and rdv.http in turns; return each run's figures, with CPU time per
    request.
    """
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "door": []}
    for _ in range(rounds):
        for kind, measured in runs.items():
            with Echo(kind) as echo:
                run = measure(echo.port, connections, seconds, rate)
            measured.append({**asdict(run), "cpu_us": echo.cpu_ns / 1e3 / (run.per_s * seconds)})
    return runs


def compare(seconds: float, connections: int, rate: float = 0.0) -> list[Figure]:
    """Return the medians of some runs, against their bounds."""
    runs = take_turns(seconds, connections, rate)
    name = f"open loop, {rate:.0f}/s" if rate else f"closed loop, {connections} connections"
    bounds = [("p50_us", 1.5), ("p99_us", 2.0), ("cpu_us", 1 / 0.85)]
    figures = []
    for field, bound in bounds if rate else [("per_s", 0.85), *bounds]:
        bare, door = (median(run[field] for run in runs[kind]) for kind in ("bare", "door"))
        ratio, more = door / bare, field == "per_s"
        what, _, unit = field.rpartition("_")
        figures.append(
            Figure(
                f"{name}: {what} {unit}",
                f"{door:,.1f} ({ratio:.2f} ×)",
                f"{bare:,.1f}",
                f"{'>=' if more else '<='} {bound:.2f} ×",
                ratio >= bound if more else ratio <= bound,
            )
        )
    return figures


def main() -> None:
    uvloop.install()
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2]))
    elif sys.argv[1:2] == ["--drive"]:
        print(json.dumps(asdict(asyncio.run(Drive(**json.loads(sys.argv[2])).run()))))
    else:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
        figures = compare(seconds, 32) + compare(seconds, 1) + compare(seconds, 32, rate=1000)
        show("HTTP echo: the door against the bare parser", figures)


if __name__ == "__main__":
    main()
