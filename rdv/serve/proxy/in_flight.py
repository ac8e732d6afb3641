"""Keeps the requests that a proxy has accepted and not answered. Pure: `now_ns` is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import msgspec

from rdv.http.shares import Shares
from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule import Schedule

BYTES_MAX = 268_435_456


SMALL_BYTES = 4_096
"""Bodies up to this size are not counted: `in_flight_max` bounds them well enough."""


def counted_bytes(body: bytes) -> int:
    """Return the bytes that a body counts for in the total of all open requests."""
    size = len(body)
    return size if size > SMALL_BYTES else 0


class OpenRequest(msgspec.Struct, frozen=True, eq=False):
    """Holds one open request with its client (the HTTP server's own object) and its schedule.

    `holder`: the client that has the place, as `Shares` knows it. `size`: see `counted_bytes`.
    """

    client: Any
    request: Request
    schedule: Schedule
    partition: int
    backstop_ns: int
    holder: str = ""
    size: int = 0


class InFlight:
    """Holds open requests by id, and the time of each one's backstop. For one thread."""

    def __init__(
        self, in_flight_max: int, client_share: float = 1.0, bytes_max: int = BYTES_MAX
    ) -> None:
        """Make an empty in_flight.

        `client_share` is the share of `in_flight_max` and of `bytes_max` (the bodies of all open
        requests) that one client may have while it is alone.
        """
        self._shares = Shares(in_flight_max, client_share)
        self._bytes = Shares(bytes_max, client_share)
        self._aside: dict[str, None] = {}
        self._aside_bytes = 0
        self._open: dict[str, OpenRequest] = {}
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._open)

    def limit(self, in_flight_max: int, client_share: float, bytes_max: int) -> None:
        """Apply other limits from the next request on."""
        self._shares.change(in_flight_max, client_share)
        self._bytes.change(bytes_max, client_share)

    def admits(self, holder: str, size: int = 0) -> bool:
        """Return whether the client may have another open request, with a body of `size` bytes.

        A body that is larger than the limit for all is admitted while there is no other.
        """
        shares = self._shares
        # While plenty is left, no share has to be computed: hot.
        if shares.taken + 1 >= shares.plenty and not shares.admits(holder):
            return False
        return not size or not self._bytes.taken or self._bytes.admits(holder, size)

    def admits_all(self, holder: str, sizes: list[int]) -> bool:
        """Return whether the client may have as many more open requests, of these sizes."""
        size = sum(sizes)
        return self._shares.admits_each(holder, len(sizes)) and (
            not size or not self._bytes.taken or self._bytes.admits(holder, size)
        )

    def take(self, entry: OpenRequest) -> None:
        self._shares.take(entry.holder)
        if entry.size:
            self._bytes.take(entry.holder, entry.size)
        id_, open_ = entry.request.id, self._open
        open_[id_] = entry
        heapq.heappush(self._due, (entry.backstop_ns, id_))
        if len(self._due) > 4 * len(open_) + 1_000:
            self._due = [due for due in self._due if due[1] in open_]
            heapq.heapify(self._due)

    def answered(self, id_: str) -> OpenRequest | None:
        """Mark the request as answered; return None when it was already, or is unknown."""
        entry = self._open.pop(id_, None)
        if entry is not None:
            if self._aside and id_ in self._aside:
                del self._aside[id_]
                self._aside_bytes -= entry.size
            else:
                self._shares.give(entry.holder)
                if entry.size:
                    self._bytes.give(entry.holder, entry.size)
        return entry

    def find(self, id_: str) -> OpenRequest | None:
        """Return the open request; it stays open."""
        return self._open.get(id_)

    def _give(self, entry: OpenRequest) -> None:
        self._shares.give(entry.holder)
        if entry.size:
            self._bytes.give(entry.holder, entry.size)

    def set_aside(self, id_: str) -> list[OpenRequest]:
        """Free the place of a request whose client may have gone; it is still answered.

        As many requests can be set aside as there are places, with as many bytes; beyond that, the
        oldest of them are returned, which count as answered.
        """
        entry = self._open.get(id_)
        if entry is None or id_ in self._aside:
            return []
        self._give(entry)
        self._aside[id_] = None
        self._aside_bytes += entry.size
        left = []
        while len(self._aside) > self._shares.limit or self._aside_bytes > self._bytes.limit:
            oldest = self.answered(next(iter(self._aside)))
            assert oldest is not None
            left.append(oldest)
        return left

    def overdue(self, now_ns: int) -> Iterator[OpenRequest]:
        """Yield the requests whose backstop time has come; they count as answered."""
        while self._due and self._due[0][0] <= now_ns:
            entry = self.answered(heapq.heappop(self._due)[1])
            if entry is not None:
                yield entry

    def next_due_ns(self) -> int | None:
        """Return when to call `overdue` next."""
        while self._due and self._due[0][1] not in self._open:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def drop_all(self) -> list[OpenRequest]:
        """Remove and return all open requests, at the end."""
        left = list(self._open.values())
        self._open, self._due = {}, []
        self._aside.clear()
        self._aside_bytes = 0
        self._shares.clear()
        self._bytes.clear()
        return left
