"""Places that clients share, so that none of them can take the last part. Pure."""

from __future__ import annotations

_ROUNDING = 1e-9

LEFT_MIN = 20
"""One client leaves at least so many places free for others, or half of all."""


class Shares:
    """A number of places (requests, connections, bytes), and who holds how many of them.

    A client gets a place while it holds less than `share / (1 - share)` times what is free. One
    client alone can so have `share` of all places, and less of few places (LEFT_MIN); when others
    come they find the rest free, and what a greedy client gives back is theirs until all hold
    alike. Nothing is set aside for
    clients that do not come, and nothing is ever looked through: every call is a few steps,
    whatever the number of clients. Memory: one entry for each client that holds a place.

    For one thread.
    """

    __slots__ = ("_held", "limit", "plenty", "share", "taken")

    def __init__(self, limit: int, share: float) -> None:
        self.change(limit, share)
        self.taken = 0
        """Places that are not free."""
        self._held: dict[str, int] = {}

    def change(self, limit: int, share: float) -> None:
        """Other limits hold for the next place that is taken."""
        self.limit = limit
        """Places, all together."""
        self.share = share if share >= 1 else min(share, max(0.5, 1 - LEFT_MIN / limit))
        """What one client may have of them while it is alone: above 0 to 1 (no client is
        limited)."""
        self.plenty = limit * self.share
        """While fewer are taken any client may take one, even if it holds all of those."""

    def admits(self, client: str, count: int = 1) -> bool:
        """Whether the client may take so many more."""
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
        """Whether so many more are free, whoever wants them."""
        return self.limit - self.taken >= count

    def take(self, client: str, count: int = 1) -> None:
        """The client has so many more, whether they were free or not."""
        self.taken += count
        held = self._held
        held[client] = held.get(client, 0) + count

    def give(self, client: str, count: int = 1) -> None:
        """The client has so many less."""
        self.taken -= count
        left = self._held.get(client, 0) - count
        if left:
            self._held[client] = left
        else:
            self._held.pop(client, None)

    def held(self, client: str) -> int:
        """How many the client has."""
        return self._held.get(client, 0)

    @property
    def clients(self) -> int:
        """How many clients hold a place."""
        return len(self._held)

    def clear(self) -> None:
        """Nobody holds anything."""
        self.taken = 0
        self._held.clear()
