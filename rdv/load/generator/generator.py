"""The generator has a schedule of sends, a pool of connections, and a queue between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from time import monotonic_ns

from rdv.load.generator.arrivals import InvalidLoad, make_pacer
from rdv.load.generator.tally import Failed, Sink
from rdv.load.generator.wire import Wire

Source = Callable[[int], bytes]
"""Returns the bytes of request number n, rendered beforehand. Called on the loop: must be quick."""

_MS = 1_000_000
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class LoadLimits:
    """Limits the resources that a run may use. Raises InvalidLoad."""

    connections_max: int = 256
    """The maximum size of the pool; then requests queue, with their scheduled time kept."""

    connecting_max: int = 32
    """The maximum number of connections that are being made at the same time."""

    queue_max: int = 100_000
    """The maximum number of requests that wait for a connection; more are failed as "overflow"."""

    timeout_ms: int = 10_000
    """No answer after this time from the actual send, or no connection: failed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InvalidLoad(field.name, f"{getattr(self, field.name)} is less than 1")


class Generator:
    """Drives one HTTP server from the running loop. Loop's thread only; one run each.

    Open loop: `await run(arrivals, duration_s)` sends request n at the n-th time of `arrivals` (ns
    from the start) whatever the answers do. Closed loop: `await run_closed(…)`. `sent`, `queued`
    and `in_flight` may be read meanwhile. Failures go to the sink, nothing is retried.
    """

    def __init__(
        self, host: str, port: int, source: Source, sink: Sink, limits: LoadLimits | None = None
    ) -> None:
        self._address = (host, port)
        self._source = source
        self._sink = sink
        self._limits = limits or LoadLimits()
        self._idle: list[Wire] = []
        self._wires: set[Wire] = set()
        self._flying: dict[Wire, None] = {}  # in the order of their sends, so of their timeouts
        self._queue: deque[tuple[int, int]] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._next = 0
        self._end_ns = 0
        self._closed_loop = False
        self._stopping = False
        self._over: asyncio.Future[None] | None = None
        self._quiet: asyncio.Future[None] | None = None
        self.sent = 0

    @property
    def queued(self) -> int:
        """Return the number of requests that are due and have no connection yet."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Return the number of requests that were sent and not answered."""
        return len(self._flying)

    async def run(self, arrivals: Iterator[int], duration_s: float) -> None:
        """Run an open loop for `duration_s`, then wait for the answers (at most `timeout_ms`)."""
        self._begin()
        start_ns = monotonic_ns()
        self._end_ns = start_ns + int(duration_s * _SECOND_NS)
        due_ns = start_ns + next(arrivals)
        over = self._loop.create_future()

        def send_due() -> None:
            nonlocal due_ns
            now_ns = monotonic_ns()
            while due_ns <= now_ns and due_ns < self._end_ns:
                self._due(due_ns)
                due_ns = start_ns + next(arrivals)
            if due_ns < self._end_ns and not self._stopping:
                pacer.wake_at(due_ns)
            elif not over.done():
                over.set_result(None)

        pacer = make_pacer(send_due)
        self._over = over
        try:
            pacer.wake_at(due_ns)
            await over
        finally:
            pacer.close()
            await self._finish()

    async def run_closed(self, connections: int, duration_s: float) -> None:
        """Run a closed loop: each connection sends its next request when it has its answer."""
        self._begin()
        self._closed_loop = True
        self._end_ns = monotonic_ns() + int(duration_s * _SECOND_NS)
        self._over = self._loop.create_future()
        self._loop.call_later(duration_s, self.stop)
        try:
            for _ in range(min(connections, self._limits.connections_max)):
                self._due(monotonic_ns())
            await self._over
        finally:
            await self._finish()

    def stop(self) -> None:
        """End early: nothing more is sent; answers to requests in flight are still awaited."""
        self._stopping = True
        self._end_ns = min(self._end_ns, monotonic_ns())
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    # Called by connections.

    def done(self, wire: Wire, status: int, body: bytes, now_ns: int) -> None:
        """Handle the answer of a wire."""
        number, wire.number = wire.number, -1
        latency_ns, service_ns = now_ns - wire.due_ns, now_ns - wire.sent_ns
        del self._flying[wire]
        if not wire.reusable:
            self._wires.discard(wire)
            wire.close()
        elif self._queue:
            self._send(wire, *self._queue.popleft())
        else:
            self._idle.append(wire)
        self._sink.answered(number, status, latency_ns, service_ns, body)
        self._continue(now_ns)

    def ended(self, wire: Wire, reason: Failed) -> None:
        """Handle a wire that cannot be used any more."""
        self._wires.discard(wire)
        if wire.number >= 0:
            number, wire.number = wire.number, -1
            self._flying.pop(wire, None)
            self._fail(number, reason, wire.due_ns)
        elif wire in self._idle:
            self._idle.remove(wire)
        self._grow()

    # Sending.

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()

    def _due(self, due_ns: int) -> None:
        number = self._next
        self._next += 1
        if self._idle:
            self._send(self._idle.pop(), number, due_ns)
        elif len(self._queue) >= self._limits.queue_max:
            self._fail(number, "overflow", due_ns)
        else:
            self._queue.append((number, due_ns))
            self._grow()

    def _send(self, wire: Wire, number: int, due_ns: int) -> None:
        self._flying[wire] = None
        self.sent += 1
        wire.send(number, self._source(number), due_ns)
        if self._watch is None:
            self._watch = self._loop.call_later(self._limits.timeout_ms / 1000, self._expire)

    def _continue(self, now_ns: int) -> None:
        if self._closed_loop and now_ns < self._end_ns:
            self._due(now_ns)
        elif self._queue:
            self._grow()
        elif self._quiet is not None:
            self._settle()

    def _settle(self) -> None:
        if self._quiet is not None and not (self._quiet.done() or self._flying or self._queue):
            self._quiet.set_result(None)

    def _fail(self, number: int, reason: Failed, due_ns: int) -> None:
        now_ns = monotonic_ns()
        self._sink.failed(number, reason, now_ns - due_ns)
        self._settle()
        # Not at once: a server that refuses every connection would be called in a tight loop.
        if self._closed_loop:
            self._loop.call_later(0.01, lambda: self._continue(monotonic_ns()))

    # The pool.

    def _grow(self) -> None:
        limits, connecting = self._limits, len(self._connecting)
        if (
            len(self._queue) > connecting
            and connecting < limits.connecting_max
            and len(self._wires) + connecting < limits.connections_max
        ):
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        wire = Wire(self)
        try:
            async with asyncio.timeout(self._limits.timeout_ms / 1000):
                await self._loop.create_connection(lambda: wire, *self._address)
        except (OSError, TimeoutError):
            self._connecting.discard(task)
            if self._queue:
                number, due_ns = self._queue.popleft()
                self._fail(number, "connect", due_ns)
            return
        self._connecting.discard(task)
        self._wires.add(wire)
        if self._queue:
            self._send(wire, *self._queue.popleft())
        else:
            self._idle.append(wire)
        self._grow()

    def _expire(self) -> None:
        """Fail the sends that are too old; the oldest is first, so one timer is enough."""
        self._watch = None
        limit_ns, now_ns = self._limits.timeout_ms * _MS, monotonic_ns()
        while self._flying:
            wire = next(iter(self._flying))
            left_ns = wire.sent_ns + limit_ns - now_ns
            if left_ns > 0:
                self._watch = self._loop.call_later(left_ns / _SECOND_NS + 0.001, self._expire)
                return
            self.ended(wire, "timeout")
            wire.close()

    async def _finish(self) -> None:
        """Wait for what is in flight, then close everything."""
        self._closed_loop = False
        self._quiet = self._loop.create_future()
        self._settle()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet, self._limits.timeout_ms / 1000)
        for number, due_ns in self._queue:
            self._fail(number, "timeout", due_ns)
        self._queue.clear()
        for wire in list(self._flying):
            self.ended(wire, "timeout")
        if self._watch is not None:
            self._watch.cancel()
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for wire in list(self._wires):
            wire.close()
        await asyncio.sleep(0)
