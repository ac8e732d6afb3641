"""Shares a limited number of places among clients, so that one client cannot take all. Pure.

`Connections` applies this to open connections, and evicts idle ones. While there are places, only a
client that already has its share has to give one up, for its own next connection. When all are
taken, one of the clients that hold more than the average does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from rdv.http.limits import Limits

_ROUNDING = 1e-9

LEFT_MIN = 20
"""One client leaves at least this many places free for others, or half of all."""


_ALL_CLIENTS = ""

_LOOK_NS, _MODEST_LOOK_NS = 20_000_000, 2_000_000
"""How long to wait after a scan of the connections before the next one (the second value: for a
client with few places), unless the last scan was worth its cost.
"""

_WORTH = 8
"""A scan was worth its cost if one in this many connections that it saw was evicted."""


class Shares:
    """Counts places (requests, connections, bytes), and how many each client holds.

    A client gets a place while it holds less than `share / (1 - share)` times what is free. So one
    client alone can have `share` of all places, and less of few places (LEFT_MIN). When others come
    they find the rest free, and get what a greedy client gives back until all hold the same.
    Nothing is reserved for absent clients, and nothing is scanned: every call is a few steps,
    whatever the number of clients. Memory: one entry for each client that holds a place. For one
    thread.
    """

    __slots__ = ("_held", "limit", "plenty", "share", "taken")

    def __init__(self, limit: int, share: float) -> None:
        self.change(limit, share)
        self.taken = 0
        """The number of places that are not free."""
        self._held: dict[str, int] = {}

    def change(self, limit: int, share: float) -> None:
        """Apply other limits from the next place that is taken."""
        self.limit = limit
        """The number of all places."""
        self.share = share if share >= 1 else min(share, max(0.5, 1 - LEFT_MIN / limit))
        """The share that one client may have while it is alone: above 0 to 1 (no limit)."""
        self.plenty = limit * self.share
        """While fewer places are taken, any client may take one, even if it holds all of those."""

    def admits(self, client: str, count: int = 1) -> bool:
        """Return whether the client may take `count` more places."""
        if self.taken + count < self.plenty:
            return True
        free = self.limit - self.taken
        if free < count:
            return False
        held = self._held.get(client, 0)
        if not held or self.share >= 1:
            return True
        is_fair = held * (1 - self.share) + _ROUNDING < free * self.share
        return is_fair and (free > count or self.limit == 1)

    def admits_each(self, client: str, count: int) -> bool:
        """Return whether the client may take `count` places one after another."""
        if self.taken + count < self.plenty:
            return True
        free = self.limit - self.taken - count + 1  # when the last one is taken
        held = self.held(client) + count - 1
        if free < 1:
            return False
        if not held or self.share >= 1:
            return True
        is_fair = held * (1 - self.share) + _ROUNDING < free * self.share
        return is_fair and (free > 1 or self.limit == 1)

    def has_room(self, count: int) -> bool:
        """Return whether `count` more places are free, for any client."""
        return self.limit - self.taken >= count

    def take(self, client: str, count: int = 1) -> None:
        """Give the client `count` more places, whether they were free or not."""
        self.taken += count
        held = self._held
        held[client] = held.get(client, 0) + count

    def give(self, client: str, count: int = 1) -> None:
        """Free `count` places of the client."""
        self.taken -= count
        left = self._held.get(client, 0) - count
        if left:
            self._held[client] = left
        else:
            self._held.pop(client, None)

    def held(self, client: str) -> int:
        """Return how many places the client has."""
        return self._held.get(client, 0)

    @property
    def clients(self) -> int:
        """Return the number of clients that hold a place."""
        return len(self._held)

    def clear(self) -> None:
        """Free all places."""
        self.taken = 0
        self._held.clear()


class Placed(Protocol):
    """The interface of a connection that has a place, or wants one."""

    client: str
    is_trusted: bool

    def has_unread(self) -> bool:
        """Return whether bytes have come that have not been read yet."""

    def idle_since_ns(self) -> int | None:
        """Return when the connection became idle; None while it is busy."""

    def slow_since_ns(self) -> int | None:
        """Return since when its client has not sent or read; None if it is not waited for."""

    def give_way(self) -> None:
        """End, so that another connection gets the place."""


class _Candidates:
    """Holds the connections that one scan found, the oldest first."""

    __slots__ = ("given", "idle", "looked_ns", "seen", "slow")

    def __init__(self) -> None:
        self.idle: deque[tuple[int, Placed]] = deque()
        self.slow: deque[tuple[int, Placed]] = deque()
        self.looked_ns = -_LOOK_NS
        self.seen = 0
        """`seen`: the connections of the last scan; `given`: how many were evicted since."""
        self.given = 0

    def may_look(self, now_ns: int, pause_ns: int) -> bool:
        """Return whether the connections may be scanned again.

        A client that opens many connections at once must not cause a scan for each of them, nor be
        refused while others are idle.
        """
        return now_ns - self.looked_ns >= pause_ns or self.given * _WORTH >= self.seen > 0


class Places:
    """Manages the places of one server's connections. Loop's thread only."""

    def __init__(self, limits: Limits) -> None:
        self._shares = Shares(limits.connections_max, limits.client_share)
        self._by_client: dict[str, set[Placed]] = {}
        self._candidates: dict[str, _Candidates] = {}

    def update(self, limits: Limits) -> None:
        """Apply other limits from the next connection on."""
        self._shares.change(limits.connections_max, limits.client_share)

    def enter(self, connection: Placed, now_ns: int) -> bool:
        """Take a place, if necessary by evicting another connection; return False when there is
        none.

        A trusted proxy carries many clients' requests: it may have all places.
        """
        shares, client = self._shares, connection.client
        is_full = shares.taken >= shares.limit
        if is_full or not (connection.is_trusted or shares.admits(client)):
            is_modest = is_full and shares.held(client) * shares.clients < shares.taken
            found = self._find(_ALL_CLIENTS if is_full else client, now_ns, is_modest=is_modest)
            if found is None:
                return False
            self.leave(found)
            found.give_way()
        shares.take(client)
        self._by_client.setdefault(client, set()).add(connection)
        return True

    def leave(self, connection: Placed) -> None:
        """Free the place of a connection; harmless when it has none."""
        client = connection.client
        those = self._by_client.get(client)
        if those is None or connection not in those:
            return
        those.remove(connection)
        self._shares.give(client)
        if not those:
            del self._by_client[client]
            self._candidates.pop(client, None)

    def _find(self, whose: str, now_ns: int, *, is_modest: bool) -> Placed | None:
        """Return the connection to evict: of `whose` connections the one that is idle for longest.

        For a client with few places, that may also be a connection whose client is slow.
        """
        found = self._candidates.setdefault(whose, _Candidates())
        for _ in range(2):
            while found.idle:
                since_ns, connection = found.idle.popleft()
                if (
                    self._is_placed(connection)
                    and connection.idle_since_ns() == since_ns
                    and not connection.has_unread()
                ):
                    found.given += 1
                    return connection
            while is_modest and found.slow:
                since_ns, connection = found.slow.popleft()
                if self._is_placed(connection) and connection.slow_since_ns() == since_ns:
                    found.given += 1
                    return connection
            if not found.may_look(now_ns, _MODEST_LOOK_NS if is_modest else _LOOK_NS):
                return None
            found.looked_ns, found.given, found.seen = now_ns, 0, 0
            self._look(whose, found)
        return None

    def _look(self, whose: str, found: _Candidates) -> None:
        idle, slow = [], []
        for connection in (
            self._greedy() if whose == _ALL_CLIENTS else self._by_client.get(whose, ())
        ):
            found.seen += 1
            if (since_ns := connection.idle_since_ns()) is not None:
                idle.append((since_ns, id(connection), connection))
            elif (since_ns := connection.slow_since_ns()) is not None:
                slow.append((since_ns, id(connection), connection))
        found.idle = deque((since_ns, one) for since_ns, _, one in sorted(idle))
        found.slow = deque((since_ns, one) for since_ns, _, one in sorted(slow))

    def _greedy(self) -> Iterable[Placed]:
        """Return the connections of clients that hold the average or more."""
        shares = self._shares
        for those in self._by_client.values():
            if len(those) * shares.clients >= shares.taken:
                yield from those

    def _is_placed(self, connection: Placed) -> bool:
        return connection in self._by_client.get(connection.client, ())
