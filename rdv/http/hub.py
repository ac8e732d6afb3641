"""What the connections of a server share: limits, clocks, counters, and one flush per loop turn.

It also detects clients that leave while reading from them is paused. A paused connection (its
pipeline is full, or the client does not read its answers) shows neither the end of the client's
side nor a reset. Linux's epoll reports both without reading. On other systems such a client is
noticed at the next read or write.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rdv.clock import Clock
from rdv.http.access import Access
from rdv.http.head import HeadParser
from rdv.http.limits import Limits
from rdv.http.request import Request
from rdv.http.response import DateLine
from rdv.http.shares import Placed, Places, Shares
from rdv.http.turns import Turns

Application = Callable[[Request], None]
"""The application is called on the loop for each complete request; it must not block."""


class Watched(Protocol):
    """The interface of a connection to `HangUps`."""

    def hung_up(self, *, is_gone: bool) -> None:
        """Handle that the client sends nothing more; with `is_gone` it does not read, either."""


class HangUps:
    """Watches all paused connections of a server with one epoll. Loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._watched: dict[int, Watched] = {}
        self._fds: dict[Watched, int] = {}
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, connection: Watched, fd: int) -> None:
        """Notify the connection when its client stops sending, and when it has gone."""
        if self._epoll is None or fd < 0:
            return
        self._watched[fd], self._fds[connection] = connection, fd
        with contextlib.suppress(OSError):
            self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def forget(self, connection: Watched) -> None:
        """Stop notifying the connection; harmless when it is not watched."""
        fd = self._fds.pop(connection, -1)
        if fd < 0 or self._epoll is None or self._watched.get(fd) is not connection:
            return  # the descriptor belongs to another connection by now
        del self._watched[fd]
        with contextlib.suppress(OSError):  # it is closed
            self._epoll.unregister(fd)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, events in self._epoll.poll(0):
            connection = self._watched.get(fd)
            if connection is not None:
                # A reset is reported separately, and may still follow.
                with contextlib.suppress(OSError):
                    self._epoll.modify(fd, select.EPOLLONESHOT)
                connection.hung_up(is_gone=bool(events & (select.EPOLLHUP | select.EPOLLERR)))

    def close(self) -> None:
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None


@dataclass
class Counters:
    """Counts events since the server was made. Any thread may read the counters."""

    connections_opened: int = 0
    connections_refused: int = 0
    """Refused beyond `connections_max`, or beyond the client's share of it."""
    connections_evicted: int = 0
    """Idle or slow connections that were closed in favour of others."""
    connections_aborted: int = 0
    """Aborted by the server: clients that did not read, or that delayed the end of a drain."""
    requests: int = 0
    """Complete requests that were passed to the application."""
    refusals: int = 0
    """Requests that the HTTP server itself refused (4xx and 5xx, not the application's)."""
    timeouts: int = 0
    """Refusals for slowness: 408, and 503 for requests that were never answered."""
    application_errors: int = 0
    """Exceptions from the application, which were answered 500."""


class Departures(Protocol):
    """Receives callbacks for clients that leave. Called on the loop; must not block or raise."""

    def gone(self, request: Request) -> None:
        """Handle that the client has gone before this request was answered."""

    def ending(self, request: Request) -> None:
        """Handle that the client sends nothing more.

        It may have gone, or still read its answer: TCP does not show which before a write. May be
        called again for the same request.
        """


class IgnoreDepartures:
    """Ignores clients that leave."""

    def gone(self, request: Request) -> None: ...
    def ending(self, request: Request) -> None: ...


class Flushed(Protocol):
    """The interface of a connection to the hub."""

    def flush(self, now_ns: int) -> None:
        """Write the answers that were given since the last call."""


class Hub:
    """Holds the state that the connections of one server share. Loop's thread only."""

    __slots__ = (
        "_dirty", "_empty", "access", "application", "clock", "connections", "counters", "date",
        "departures", "draining", "hangups", "heads", "limits", "loop", "now_ns", "partial",
        "places", "refused", "turns",
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
        """Bytes of incomplete requests."""
        self.hangups = HangUps(self.loop)
        self.heads = HeadParser(limits, access)
        self.clock = clock
        self.now_ns = clock.monotonic_ns
        self.turns = Turns(self.loop, self.now_ns)
        self.date = DateLine()
        self.counters = counters
        self.draining = False
        self.connections: set[Placed] = set()
        self.refused: set[Placed] = set()
        self._dirty: list[Flushed] = []
        self._empty: asyncio.Future[None] | None = None

    def change_limits(self, limits: Limits) -> None:
        """Apply to new connections; cached heads are dropped, as the old limits checked them."""
        self.limits = limits
        self.heads.change_limits(limits)
        self.places.update(limits)
        self.partial.change(limits.partial_bytes_max, limits.client_share)

    def flush_soon(self, connection: Flushed) -> None:
        """Flush at the end of this turn: all answers of a turn to one client are a single write."""
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        now_ns = self.tick()
        for connection in dirty:
            connection.flush(now_ns)

    def tick(self) -> int:
        """Return the monotonic time; renew the Date header if it is due."""
        now_ns = self.now_ns()
        if now_ns >= self.date.due_ns:
            self.date.refresh(now_ns, self.clock.wall_ns())
        return now_ns

    def closed(self, connection: Placed) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)
        self.places.leave(connection)
        self.refused.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until no connection is left; return False after `timeout_s`."""
        if not self.connections:
            return True
        self._empty = self.loop.create_future()
        try:
            await asyncio.wait_for(self._empty, timeout_s)
        except TimeoutError:
            return False
        return True
