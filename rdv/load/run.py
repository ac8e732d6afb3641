"""A load run sends requests to all proxies of a decision."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from rdv.decision.proxies import ProxyAddress
from rdv.load.figures import Figures
from rdv.load.generator import Generator, LoadLimits, render_request, share_of
from rdv.load.generator.tally import Failed
from rdv.load.rows import Row


@dataclass(frozen=True)
class LoadPlan:
    """How many requests are sent, and how. `rate` is None in a closed loop."""

    rate: float | None
    seconds: float
    connections: int
    is_poisson: bool = False
    sla_ms: float = 0.0
    """The longest SLA that a request may have; the timeout for answers is extended by it."""

    @property
    def mode(self) -> str:
        if self.rate is None:
            return f"closed loop of {self.connections} connections"
        return f"open loop at {self.rate:g}/s"


class Share:
    """The sink of one proxy: its request n is request n·proxies + index of the run."""

    def __init__(self, index: int, proxies: int, figures: Callable[[], Sequence[Figures]]) -> None:
        self._index = index
        self._proxies = proxies
        self._figures = figures

    def number(self, number: int) -> int:
        return number * self._proxies + self._index

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        for figures in self._figures():
            figures.answered(self.number(number), status, latency_ns, service_ns, body)

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        for figures in self._figures():
            figures.failed(self.number(number), reason, latency_ns)


class LoadRun:
    """A run, once; it calls `progress(at_s, figures of the interval, its seconds)`."""

    def __init__(
        self,
        plan: LoadPlan,
        proxies: Sequence[ProxyAddress],
        rows: Sequence[Row],
        make_figures: Callable[[], Figures],
        progress: Callable[[float, Figures, float], None] | None,
        every_s: float,
    ) -> None:
        self._plan = plan
        self._proxies = proxies
        self._rows = rows
        self._make_figures = make_figures
        self._progress = progress
        self._every_s = every_s
        self.total = make_figures()
        self._interval = make_figures()
        self._interval_began_s = 0.0
        self.seconds = 0.0
        self.is_interrupted = False

    def run(self) -> Figures:
        """Block until the run is over, or until Ctrl-C; return the figures so far."""
        uvloop.run(self._run())
        return self.total

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        generators = [self._generator(index, proxy) for index, proxy in enumerate(self._proxies)]

        def interrupt() -> None:
            self.is_interrupted = True
            for generator in generators:
                generator.stop()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        ticking = loop.create_task(self._tick())
        begin_s = time.monotonic()
        try:
            await asyncio.gather(*(self._drive(n, g) for n, g in enumerate(generators)))
        finally:
            planned_s = self._plan.seconds
            passed_s = time.monotonic() - begin_s
            # The wait for the last answers does not count, unless the run was interrupted.
            self.seconds = passed_s if self.is_interrupted else min(passed_s, planned_s)
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
            self._show(begin_s)

    def _generator(self, index: int, proxy: ProxyAddress) -> Generator:
        count = len(self._proxies)
        share = Share(index, count, lambda: (self.total, self._interval))
        rendered = [
            render_request("POST", "/v1/decide", str(proxy), row.body) for row in self._rows
        ]
        size = len(rendered)
        limits = LoadLimits(
            connections_max=max(1, self._plan.connections // count),
            timeout_ms=LoadLimits.timeout_ms + int(self._plan.sla_ms),
        )
        return Generator(
            proxy.host, proxy.port, lambda n: rendered[share.number(n) % size], share, limits
        )

    async def _drive(self, index: int, generator: Generator) -> None:
        plan, count = self._plan, len(self._proxies)
        if plan.rate is None:
            await generator.run_closed(max(1, plan.connections // count), plan.seconds)
            return
        arrivals = share_of(plan.rate, index, count, is_poisson=plan.is_poisson)
        await generator.run(arrivals, plan.seconds)

    async def _tick(self) -> None:
        self._interval_began_s = begin_s = time.monotonic()
        for count in range(1, 1_000_000_000):
            await asyncio.sleep(max(0.0, begin_s + count * self._every_s - time.monotonic()))
            self._show(begin_s)

    def _show(self, begin_s: float) -> None:
        """Report the interval that ends now, and begin the next one."""
        interval, self._interval = self._interval, self._make_figures()
        now_s = time.monotonic()
        if self._progress is not None and interval.tally.requests:
            self._progress(now_s - begin_s, interval, now_s - self._interval_began_s)
        self._interval_began_s = now_s
