"""The requests that a proxy has taken and not answered yet. Pure: `now_ns` is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

from rdv.http.shares import Shares
from rdv.messages import Request
from rdv.schedule import Schedule

BYTES_MAX = 268_435_456


SMALL_BYTES = 4_096
"""Bodies up to here are not counted: `in_flight_max` bounds them well enough."""


def counted_bytes(body: bytes) -> int:
    """What a body counts for in the bytes of all open requests."""
    size = len(body)
    return size if size > SMALL_BYTES else 0


class Open(NamedTuple):
    """One open request: who asks (the HTTP server's own token), what, by which schedule.

    `holder`: the client that has the place, as `Shares` knows it. `size`: see `counted_bytes`.
    """

    client: Any
    request: Request
    schedule: Schedule
    partition: int
    backstop_ns: int
    holder: str = ""
    size: int = 0


class Desk:
    """Open requests by id, and when the last backstop answers each of them. For one thread."""

    def __init__(
        self, in_flight_max: int, client_share: float = 1.0, bytes_max: int = BYTES_MAX
    ) -> None:
        """`client_share`: what one client may have of `in_flight_max` and of `bytes_max` (the
        bodies of all open requests) while it is alone.
        """
        self._shares = Shares(in_flight_max, client_share)
        self._bytes = Shares(bytes_max, client_share)
        self._aside: dict[str, None] = {}
        self._aside_bytes = 0
        self._open: dict[str, Open] = {}
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._open)

    def limit(self, in_flight_max: int, client_share: float, bytes_max: int) -> None:
        """Other limits count for the next request."""
        self._shares.change(in_flight_max, client_share)
        self._bytes.change(bytes_max, client_share)

    def admits(self, holder: str, size: int = 0) -> bool:
        """Whether the client may have another open request, with a body of so many bytes. One
        that is larger than all bodies may be is admitted while there is no other.
        """
        if not self._shares.admits(holder):
            return False
        return not size or not self._bytes.taken or self._bytes.admits(holder, size)

    def take(self, entry: Open) -> None:
        self._shares.take(entry.holder)
        if entry.size:
            self._bytes.take(entry.holder, entry.size)
        self._open[entry.request.id] = entry
        heapq.heappush(self._due, (entry.backstop_ns, entry.request.id))
        if len(self._due) > 4 * len(self._open) + 1_000:
            self._due = [due for due in self._due if due[1] in self._open]
            heapq.heapify(self._due)

    def answered(self, id_: str) -> Open | None:
        """The request is answered; None when it was already, or is not ours."""
        entry = self._open.pop(id_, None)
        if entry is not None:
            if self._aside and id_ in self._aside:
                del self._aside[id_]
                self._aside_bytes -= entry.size
            else:
                self._give(entry)
        return entry

    def find(self, id_: str) -> Open | None:
        """The open request; it stays open."""
        return self._open.get(id_)

    def _give(self, entry: Open) -> None:
        self._shares.give(entry.holder)
        if entry.size:
            self._bytes.give(entry.holder, entry.size)

    def set_aside(self, id_: str) -> list[Open]:
        """The client may have gone: the request is answered as any other, but has no place.

        As many can be set aside as have places, with as many bytes; beyond, the oldest of them are
        returned, which count as answered.
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

    def overdue(self, now_ns: int) -> Iterator[Open]:
        """Requests whose backstop time has come; they count as answered."""
        while self._due and self._due[0][0] <= now_ns:
            entry = self.answered(heapq.heappop(self._due)[1])
            if entry is not None:
                yield entry

    def next_due_ns(self) -> int | None:
        """When `overdue` is to be asked next."""
        while self._due and self._due[0][1] not in self._open:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def drop_all(self) -> list[Open]:
        """Everything that is open, at the end."""
        left = list(self._open.values())
        self._open, self._due = {}, []
        self._aside.clear()
        self._aside_bytes = 0
        self._shares.clear()
        self._bytes.clear()
        return left
