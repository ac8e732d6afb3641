"""What the engine remembers of a request, before, while and after it is open.

EarlyScores   before: scores that came before their request; bounded
Mailbox       while it is open: its schedule, its step, and the reports so far
DueQueue      which open mailbox is due next: a heap with lazy deletion
RecentIds     after: ids of answered requests; bounded in number and age
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from msgspec import UNSET

from rdv.rendezvous.limits import Counters
from rdv.rendezvous.messages import Arrival, Request, Score, score_outcome
from rdv.rendezvous.plan import Plan, PlanStep

_STALE_MIN = 1_000

EarlyScore = tuple[int, Score]
"""The arrival (ns on the engine's clock), and the score."""


class Mailbox:
    """A `Mailbox` is one open request: small, as there may be a million.

    The engine changes its fields.
    """

    __slots__ = (
        "arrived", "cohort", "deadline_ns", "due_ns", "id", "is_open", "left_out", "plan",
        "propensity", "reply_to", "start_ns", "step",
    )  # fmt: skip

    def __init__(self, request: Request, plan: Plan, start_ns: int, deadline_ns: int) -> None:
        self.id = request.id
        self.reply_to = request.reply_to
        self.cohort = request.cohort
        self.propensity = request.propensity
        self.left_out: Sequence[str] = request.not_asked if request.names_models else ()
        """The models that the client's own choice leaves out; see `Plan.first_choice`."""
        self.plan = plan
        self.start_ns = start_ns
        self.deadline_ns = deadline_ns
        self.step: PlanStep = plan.steps[0]
        self.due_ns = min(start_ns + self.step.end_ns, deadline_ns)
        """The time when the step ends, and the engine must look at the mailbox."""
        self.arrived: dict[str, tuple[int, Score]] = {}
        """Reports by model in order of arrival, each with its time (ns on the engine's clock)."""
        self.is_open = True

    def next_step(self) -> bool:
        """Move on to the next step; False when there is none."""
        steps = self.plan.steps
        if self.step.number == len(steps):
            return False
        self.step = step = steps[self.step.number]
        self.due_ns = min(self.start_ns + step.end_ns, self.deadline_ns)
        return True

    def waited_ms(self, now_ns: int) -> float:
        """Return the milliseconds since the start, floored to microseconds (see `plan.to_ns`)."""
        return max(0, now_ns - self.start_ns) // 1000 / 1000

    def arrivals(self) -> list[Arrival]:
        start_ns = self.start_ns
        return [
            Arrival(model, (at_ns - start_ns) // 1000 / 1000, score_outcome(score))
            for model, (at_ns, score) in self.arrived.items()
        ]


class DueQueue:
    """A `DueQueue` orders open mailboxes by `due_ns`.

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

    def note_closed(self) -> None:
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


class EarlyScores:
    """An `EarlyScores` keeps scores by request id, in two generations as `RecentIds` does.

    Dropped scores are counted. Those dropped for age are unknown: their request never came. Those
    dropped for lack of space are evicted. One thread at a time.
    """

    __slots__ = (
        "_age_ns", "_counters", "_half", "_half_bytes", "_old", "_since_ns", "_young",
        "_young_bytes", "_young_count",
    )  # fmt: skip

    def __init__(self, scores_max: int, age_ns: int, counters: Counters, bytes_max: int) -> None:
        self._half = max(1, scores_max // 2)
        self._half_bytes = bytes_max // 2
        self._young_bytes = 0
        self._age_ns = age_ns
        self._counters = counters
        self._since_ns = 0
        self._young: dict[str, list[EarlyScore]] = {}
        self._young_count = 0
        self._old: dict[str, list[EarlyScore]] = {}

    def __len__(self) -> int:
        """Return how many scores wait."""
        return sum(map(len, self._young.values())) + sum(map(len, self._old.values()))

    def keep(self, score: Score, now_ns: int) -> None:
        self._counters.early += 1
        self.expire(now_ns)
        size = 0 if score.result is UNSET else len(bytes(score.result))
        if self._young_count >= self._half or self._young_bytes + size > self._half_bytes:
            self._counters.evicted += self._turn(now_ns)
        if not self._young_count:
            self._since_ns = now_ns
        self._young_count += 1
        self._young_bytes += size
        self._young.setdefault(score.id, []).append((now_ns, score))

    def take(self, id_: str) -> list[EarlyScore]:
        """Remove and return the scores that wait for this request, in order of arrival."""
        if not self._young and not self._old:
            return []
        return self._old.pop(id_, []) + self._young.pop(id_, [])

    def expire(self, now_ns: int) -> None:
        """Drop the scores that have waited too long."""
        if (self._young or self._old) and now_ns - self._since_ns >= self._age_ns:
            self._counters.unknown += self._turn(now_ns)

    def _turn(self, now_ns: int) -> int:
        """Drop the old generation; returns how many scores it had."""
        gone = sum(map(len, self._old.values()))
        self._old, self._young = self._young, {}
        self._young_count = self._young_bytes = 0
        self._since_ns = now_ns
        return gone


class RecentIds:
    """A `RecentIds` keeps ids in two generations: a full or aged young one replaces the old one.

    So an id is remembered for between `age_ns` and twice that, there are never more than
    `max_count`, and no id needs a place in a queue or a time of its own. One thread at a time.
    """

    __slots__ = ("_age_ns", "_half", "_old", "_since_ns", "_young")

    def __init__(self, max_count: int, age_ns: int) -> None:
        self._half = max(1, max_count // 2)
        self._age_ns = age_ns
        self._since_ns = 0
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._young or id_ in self._old

    def add(self, id_: str, now_ns: int) -> None:
        young = self._young
        if not young:
            self._since_ns = now_ns
        elif len(young) >= self._half or now_ns - self._since_ns >= self._age_ns:
            self._old = young
            self._young = young = set()
            self._since_ns = now_ns
        young.add(id_)
