"""The load of a drill is an open loop at each proxy; an overload adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from rdv.drill.copying import HOST
from rdv.drill.ledger import DoorSink, Ledger
from rdv.loadgen import Generator, LoadLimits, constant, render_request

TIMEOUT_MS = 10_000
"""How many ms beyond the longest SLA a client waits before a request counts as unanswered."""
CONNECTIONS = 256
_FOREVER_S = 86_400.0


class Load:
    """The load runs from `start` to `stop`, regardless of the answers. For use on the event loop
    only.
    """

    def __init__(
        self, ports: Sequence[int], bodies: Sequence[bytes], ledger: Ledger, sla_ms: float
    ) -> None:
        """`sla_ms` is the longest SLA that a request may have."""
        self.ports = ports
        self._rendered = {
            port: [render_request("POST", "/v1/decide", f"{HOST}:{port}", b) for b in bodies]
            for port in ports
        }
        self._ledger = ledger
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
        """Send `rate` more requests a second for `seconds`; return when the last one is
        answered.
        """
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
            DoorSink(self._ledger, port),
            limits,
        )

    async def _drive(self, generator: Generator, rate: float, index: int, seconds: float) -> None:
        # The proxies do not get their requests at the same instant.
        offset_ns = int(index * 1e9 / rate)
        arrivals = constant(rate / len(self.ports))
        await generator.run(_later(arrivals, offset_ns), seconds)


def _later(arrivals: Iterator[int], offset_ns: int) -> Iterator[int]:
    return (at_ns + offset_ns for at_ns in arrivals)
