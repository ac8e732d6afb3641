"""What the connections of one server share: limits, clocks, counters, one flush per loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rdv.clock import Clock
from rdv.http.access import Access
from rdv.http.hangups import HangUps
from rdv.http.head import HeadParser
from rdv.http.limits import Limits
from rdv.http.places import Placed, Places
from rdv.http.request import Request
from rdv.http.response import DateLine
from rdv.http.shares import Shares

Application = Callable[[Request], None]
"""Called on the loop for each complete request; must not block."""


@dataclass
class Counters:
    """What has happened since the server was made. Read them from any thread."""

    connections_opened: int = 0
    connections_refused: int = 0
    """Beyond `connections_max`, or beyond the client's share of them."""
    connections_evicted: int = 0
    """Idle or slow ones that gave their place to others."""
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


class Departures(Protocol):
    """Who wants to know that clients leave. Called on the loop; must not block or raise."""

    def gone(self, request: Request) -> None:
        """Nobody will read the answer to this request, which has none yet."""

    def ending(self, request: Request) -> None:
        """The client sends nothing more. It may have gone, or read its answer: TCP does not tell
        before something is written. May be called again for the same request.
        """


class NobodyAsks:
    """Departures that nobody wants to know of."""

    def gone(self, request: Request) -> None: ...
    def ending(self, request: Request) -> None: ...


class Flushed(Protocol):
    """A connection as the hub sees it."""

    def flush(self, now_ns: int) -> None:
        """Write out the answers that were given since the last time."""


class Hub:
    """Shared by the connections of one server. Loop's thread only."""

    __slots__ = (
        "_dirty", "_empty", "access", "application", "clock", "connections", "counters", "date",
        "departures", "draining", "hangups", "heads", "limits", "loop", "now_ns", "partial",
        "places", "refused",
    )  # fmt: skip

    def __init__(
        self,
        application: Application,
        limits: Limits,
        access: Access,
        departures: Departures,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.application = application
        self.limits = limits
        self.access = access
        self.departures = departures
        self.places = Places(limits)
        self.partial = Shares(limits.partial_bytes_max, limits.client_share)
        """Bytes of requests that have come in part."""
        self.hangups = HangUps(self.loop)
        self.heads = HeadParser(limits, access)
        self.clock = clock
        self.now_ns = clock.monotonic_ns
        self.date = DateLine()
        self.counters = counters
        self.draining = False
        self.connections: set[Placed] = set()
        self.refused: set[Placed] = set()
        self._dirty: list[Flushed] = []
        self._empty: asyncio.Future[None] | None = None

    def change_limits(self, limits: Limits) -> None:
        """For new connections; heads that are remembered were checked by the old ones."""
        self.limits = limits
        self.heads.change_limits(limits)
        self.places.update(limits)
        self.partial.change(limits.partial_bytes_max, limits.client_share)

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

    def closed(self, connection: Placed) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.places.leave(connection)
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
