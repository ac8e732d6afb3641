"""Shares a number of places among clients, so that one client cannot take all. Pure."""

from __future__ import annotations

_ROUNDING = 1e-9

LEFT_MIN = 20
"""One client leaves at least this many places free for others, or half of all."""


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
