"""What the connections of one server share: limits, clocks, counters, one flush per loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rdv.clock import Clock
from rdv.http.access import Access
from rdv.http.head import HeadParser
from rdv.http.limits import Limits
from rdv.http.request import Request
from rdv.http.response import DateLine

Application = Callable[[Request], None]
"""Called on the loop for each complete request; must not block."""


@dataclass
class Counters:
    """What has happened since the server was made. Read them from any thread."""

    connections_opened: int = 0
    connections_refused: int = 0
    """Beyond `connections_max`."""
    connections_aborted: int = 0
    """Cut off by us: clients that did not read, or were in the way of the end of a drain."""
    requests: int = 0
    """Complete requests that were given to the application."""
    refusals: int = 0
    """Requests that the door itself refused (4xx and 5xx that are not the application's)."""
    timeouts: int = 0
    """Of those, for slowness: 408, and 503 for requests that were never answered."""
    application_errors: int = 0
    """Exceptions out of the application: answered 500."""


class Flushed(Protocol):
    """A connection as the hub sees it."""

    def flush(self, now_ns: int) -> None:
        """Write out the answers that were given since the last time."""


class Hub:
    """Shared by the connections of one server. Loop's thread only."""

    __slots__ = (
        "_dirty", "_empty", "application", "clock", "connections", "counters", "date", "draining",
        "heads", "limits", "loop", "now_ns", "refused",
    )  # fmt: skip

    def __init__(
        self,
        application: Application,
        limits: Limits,
        access: Access,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.application = application
        self.limits = limits
        self.heads = HeadParser(limits, access)
        self.clock = clock
        self.now_ns = clock.monotonic_ns
        self.date = DateLine()
        self.counters = counters
        self.draining = False
        self.connections: set[asyncio.Protocol] = set()
        self.refused: set[asyncio.Protocol] = set()
        self._dirty: list[Flushed] = []
        self._empty: asyncio.Future[None] | None = None

    def flush_soon(self, connection: Flushed) -> None:
        """Flush at the end of this turn: all answers of a turn to a client are one write."""
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        now_ns = self.tick()
        for connection in dirty:
            connection.flush(now_ns)

    def tick(self) -> int:
        """The monotonic time; sees to it that the Date header is not behind it."""
        now_ns = self.now_ns()
        if now_ns >= self.date.due_ns:
            self.date.refresh(now_ns, self.clock.wall_ns())
        return now_ns

    def closed(self, connection: asyncio.Protocol) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.refused.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until no connection is left; False when it takes longer."""
        if not self.connections:
            return True
        self._empty = self.loop.create_future()
        try:
            await asyncio.wait_for(self._empty, timeout_s)
        except TimeoutError:
            return False
        return True
