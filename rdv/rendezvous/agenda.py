"""An `Agenda` says which mailbox is due next: a heap with lazy deletion."""

from __future__ import annotations

import heapq

from rdv.rendezvous.mailbox import Mailbox

_STALE_MIN = 1_000


class Agenda:
    """An `Agenda` orders open mailboxes by `due_ns`.

    One thread at a time; each operation is O(log n), amortised. Each mailbox has one entry, whose
    time may be too early (the mailbox has gone on to a later step since) but never too late. An
    answered mailbox keeps its entry until it comes up, or until most entries belong to answered
    mailboxes.
    """

    __slots__ = ("_entries", "_number", "_stale")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Mailbox]] = []
        self._number = 0  # breaks ties in order of arrival: mailboxes have no order
        self._stale = 0

    def __len__(self) -> int:
        """Return the number of entries, including those of answered mailboxes."""
        return len(self._entries)

    def add(self, box: Mailbox) -> None:
        self._number = number = self._number + 1
        heapq.heappush(self._entries, (box.due_ns, number, box))

    def next_due_ns(self) -> int | None:
        """Return when the next mailbox is due; None when there is none."""
        box = self._head()
        return None if box is None else box.due_ns

    def due(self, now_ns: int) -> Mailbox | None:
        """Return a mailbox that is due by now. It stays the next until it is moved on or closed."""
        box = self._head()
        return box if box is not None and box.due_ns <= now_ns else None

    def leave_behind(self) -> None:
        """Count a closed mailbox that had been added, and drop such entries when there are many."""
        self._stale += 1
        if self._stale > _STALE_MIN and self._stale * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if entry[2].is_open]
            heapq.heapify(self._entries)
            self._stale = 0

    def _head(self) -> Mailbox | None:
        entries = self._entries
        while entries:
            due_ns, number, box = entries[0]
            if not box.is_open:
                heapq.heappop(entries)
                self._stale -= 1
            elif box.due_ns != due_ns:
                heapq.heapreplace(entries, (box.due_ns, number, box))
            else:
                return box
        return None
