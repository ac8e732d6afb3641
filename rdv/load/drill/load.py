"""Send the load of a drill, and record what clients saw.

The load is an open loop at each proxy; an overload adds to it. Timers measure how busy the machine
is: when they are late, other processes are late too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from rdv.load.drill.copying import HOST
from rdv.load.drill.mix import OK, Asked
from rdv.load.generator import Generator, Histogram, LoadLimits, render_request, share_of
from rdv.load.generator.tally import Failed

_EVERY_S = 0.02


class TimerDelays:
    """A timer that records how late it fires, in ns, from `start` to `stop`. Loop's thread only."""

    def __init__(self) -> None:
        self.late = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arm()

    def _arm(self) -> None:
        self._due_s = self._loop.time() + _EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._beat)

    def _beat(self) -> None:
        self.late.record(int((self._loop.time() - self._due_s) * 1e9))
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Answer(msgspec.Struct):
    id: str
    kind: str
    result: msgspec.Raw
    waited_ms: float
    schedule: str
    answered_by: str
    model: str | None = None
    step: int = 0


_decode = msgspec.json.Decoder(_Answer).decode


class ClientLog:
    """The entries of all proxies. For one thread only; `listener` is called with every entry."""

    def __init__(self) -> None:
        self.entries: list[Asked] = []
        self.latency = Histogram()
        """Latencies by the client's clock, from the scheduled send, in ns."""
        self.listener: Callable[[Asked], None] | None = None

    def add(self, asked: Asked) -> None:
        self.entries.append(asked)
        if self.listener is not None:
            self.listener(asked)

    def since(self, begin_ns: int) -> list[Asked]:
        """Return the entries of requests that were due at or after `begin_ns`."""
        found = []
        for entry in reversed(self.entries):
            if entry.done_ns < begin_ns:
                break
            if entry.due_ns >= begin_ns:
                found.append(entry)
        return found


class ProxySink:
    """The sink of the load generator of one proxy."""

    def __init__(self, client_log: ClientLog, port: int) -> None:
        self._client_log = client_log
        self._port = port

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        del number, service_ns
        now_ns = time.monotonic_ns()
        due_ns = now_ns - latency_ns
        self._client_log.latency.record(latency_ns)
        if status != OK:
            self._client_log.add(Asked(self._port, due_ns, now_ns, status))
            return
        try:
            answer = _decode(body)
        except msgspec.DecodeError:
            self._client_log.add(Asked(self._port, due_ns, now_ns, status, "garbled"))
            return
        self._client_log.add(
            Asked(
                self._port,
                due_ns,
                now_ns,
                status,
                "",
                answer.id,
                answer.kind,
                answer.model,
                answer.answered_by,
                answer.schedule,
                answer.waited_ms,
                answer.step,
                bytes(answer.result) if answer.kind == "default" else b"",
            )
        )

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        del number
        now_ns = time.monotonic_ns()
        self._client_log.add(Asked(self._port, now_ns - latency_ns, now_ns, 0, reason))


TIMEOUT_MS = 10_000
"""How many ms beyond the longest SLA a client waits before a request counts as unanswered."""
CONNECTIONS = 256
_FOREVER_S = 86_400.0


class Load:
    """The load runs from `start` to `stop`, whatever the answers are. Loop's thread only."""

    def __init__(
        self, ports: Sequence[int], bodies: Sequence[bytes], client_log: ClientLog, sla_ms: float
    ) -> None:
        """`sla_ms` is the longest SLA that a request may have."""
        self.ports = ports
        self._rendered = {
            port: [render_request("POST", "/v1/decide", f"{HOST}:{port}", b) for b in bodies]
            for port in ports
        }
        self._client_log = client_log
        self._timeout_ms = TIMEOUT_MS + int(sla_ms)
        self._generators: list[Generator] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, rate: float) -> None:
        """Start to send `rate` requests a second, divided among all proxies."""
        for index, port in enumerate(self.ports):
            generator = self._generator(port, index)
            self._generators.append(generator)
            self._tasks.append(asyncio.create_task(self._drive(generator, rate, index, _FOREVER_S)))

    async def burst(self, rate: float, seconds: float) -> None:
        """Send `rate` more requests a second for `seconds`; return when the last is answered."""
        drives = [
            self._drive(self._generator(port, index), rate, index, seconds)
            for index, port in enumerate(self.ports)
        ]
        await asyncio.gather(*drives)

    async def stop(self) -> None:
        """Send no more requests; wait for the outstanding answers."""
        for generator in self._generators:
            generator.stop()
        await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """Stop at once, without waiting for answers."""
        for task in self._tasks:
            task.cancel()

    def _generator(self, port: int, index: int) -> Generator:
        requests, count = self._rendered[port], len(self.ports)
        limits = LoadLimits(connections_max=CONNECTIONS, timeout_ms=self._timeout_ms)
        return Generator(
            HOST,
            port,
            lambda n: requests[(n * count + index) % len(requests)],
            ProxySink(self._client_log, port),
            limits,
        )

    async def _drive(self, generator: Generator, rate: float, index: int, seconds: float) -> None:
        await generator.run(share_of(rate, index, len(self.ports)), seconds)
