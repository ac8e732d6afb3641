"""The requests that a proxy has taken and not answered yet. Pure: `now_ns` is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

from rdv.messages import Request
from rdv.schedule import Schedule


class Open(NamedTuple):
    """One open request: who asks (the door's own token), what, by which schedule."""

    client: Any
    request: Request
    schedule: Schedule
    partition: int
    backstop_ns: int


class Desk:
    """Open requests by id, and when the last backstop answers each of them. For one thread."""

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._open: dict[str, Open] = {}
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        return len(self._open) >= self._in_flight_max

    def take(self, entry: Open) -> None:
        self._open[entry.request.id] = entry
        heapq.heappush(self._due, (entry.backstop_ns, entry.request.id))
        if len(self._due) > 4 * len(self._open) + 1_000:
            self._due = [due for due in self._due if due[1] in self._open]
            heapq.heapify(self._due)

    def answered(self, id_: str) -> Open | None:
        """The request is answered; None when it was already, or is not ours."""
        return self._open.pop(id_, None)

    def overdue(self, now_ns: int) -> Iterator[Open]:
        """Requests whose backstop time has come; they count as answered."""
        while self._due and self._due[0][0] <= now_ns:
            entry = self._open.pop(heapq.heappop(self._due)[1], None)
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
        return left
