"""Plans which waiting requests a worker refuses and evaluates. Pure: `now_ns` is an argument.

What would come too late is refused before the rest is evaluated, so that the server can go on
without this model; of the rest the newest come first, because they have the most time left. Too
late means after the end of this model's turn in the schedule: under load, answers after it would
cost the time of those that are still in time.

`Cost` estimates what a batch takes, a fixed part and one per row, by least squares of time over
rows, in which older batches count for less and less (a recursive fit with a forgetting factor:
Ljung, System Identification, 11.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal, NamedTuple

import msgspec

from rdv.rendezvous.messages import Request
from rdv.stream import Block, TopicPartition

KEPT = 0.9
"""The weight of earlier batches, when another batch has been seen."""

DOUBTED = 0.3
"""The same after a batch that was far quicker than expected: a first call is often slow, and a
model that takes it for its speed would refuse what it can do.
"""

STUTTER = 4.0
"""A batch counts for at most this many times the expected cost, so that one stutter does not count
as normal; if it is normal, that is learned all the same, within some batches.
"""

TRUST = 0.2
"""How far one batch moves the estimate towards the best fit."""

SPREAD_MIN = 0.25
"""Variance of the rows below which the two parts cannot be told from each other."""


WhenBehind = Literal["skip", "all"]

PROBE_NS = 1_000_000_000
"""How often a model that refuses everything evaluates one request anyway: it may be quick again (a
first call is often slow), which would otherwise go unnoticed.
"""

READ_BELOW = 2_000
"""A model that must see everything reads on while fewer than these wait; the log keeps the rest."""

WAITING_MAX = 100_000
"""The maximum of waiting requests of a model that skips: it always reads on, and refuses the oldest
beyond, which it would never evaluate.
"""

REPORT_NS = 1_000_000
"""About how long a score takes from the end of its evaluation to the server: a batch that is
planned to the very end of its window is late by that.
"""

_NEVER = 2**63


@dataclass
class Cost:
    """Estimates the cost of one model's batches. For one thread."""

    row_ms: float = 0.0
    fixed_ms: float = 0.0
    _weight: float = 0.0
    _rows: float = 0.0
    _took: float = 0.0
    _rows_rows: float = 0.0
    _rows_took: float = 0.0

    def learn(self, rows: int, took_ms: float) -> None:
        """Add a batch of `rows` rows that took `took_ms`."""
        expected_ms = self.of(rows)
        if expected_ms:
            took_ms = min(took_ms, STUTTER * expected_ms)
        is_doubted = took_ms < expected_ms / 2
        kept = DOUBTED if is_doubted else KEPT
        self._weight = kept * self._weight + 1
        self._rows = kept * self._rows + rows
        self._took = kept * self._took + took_ms
        self._rows_rows = kept * self._rows_rows + rows * rows
        self._rows_took = kept * self._rows_took + rows * took_ms
        fixed_ms, row_ms = self._fit()
        trust = 1.0 if not expected_ms else 0.6 if is_doubted else TRUST
        self.fixed_ms += trust * (fixed_ms - self.fixed_ms)
        self.row_ms += trust * (row_ms - self.row_ms)

    def _fit(self) -> tuple[float, float]:
        """Return the fixed part and the part of a row, in milliseconds."""
        rows, took = self._rows / self._weight, self._took / self._weight
        spread = self._rows_rows / self._weight - rows * rows
        if spread < SPREAD_MIN:  # batches of one size: the fixed part cannot be determined
            return 0.0, took / rows
        slope = (self._rows_took / self._weight - rows * took) / spread
        slope = min(max(0.0, slope), took / rows)
        return max(0.0, took - slope * rows), slope

    def of(self, rows: int) -> float:
        """Return the expected milliseconds of a batch; 0 as long as nothing is known."""
        return self.fixed_ms + self.row_ms * rows


_deadline_ns: Callable[[Waiting], int] = attrgetter("deadline_ns")
_target_ns: Callable[[Waiting], int] = attrgetter("target_ns")


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Holds a request that the worker has read, and where it came from."""

    request: Request
    block: Block
    number: int
    """The number of its record in the block, from 0."""
    deadline_ns: int
    """The deadline, on this host's monotonic clock."""
    target_ns: int
    """When its answer is wanted: the end of this model's turn, or the deadline."""

    @property
    def place(self) -> TopicPartition:
        """Return the topic and partition it was read from."""
        return TopicPartition(self.block.topic, self.block.partition)


class Refused(NamedTuple):
    """Holds a request that will not be evaluated, and why."""

    waiting: Waiting
    refusal: Literal["behind", "expired", "unavailable"]
    late_ms: float
    detail: str = ""
    """Why, in place of how late it is."""


class BatchPlan(NamedTuple):
    """Lists what to report at once, and what to evaluate next, as one batch."""

    refused: list[Refused]
    batch: list[Waiting]


@dataclass
class Backlog:
    """Holds the requests that one worker has read and not reported yet. For one thread."""

    batch_max: int
    when_behind: WhenBehind = "skip"
    cost: Cost = field(default_factory=Cost)
    batch_wait_ms: float = 0.0
    """How long it may wait for a larger batch; see `held_until_ns`."""
    _waiting: deque[Waiting] = field(default_factory=deque)
    _soonest_ns: int = _NEVER
    """The earliest target time of the waiting requests."""
    _due: Callable[[Waiting], int] = _target_ns
    _evaluated_ns: int = 0
    _oldest_ns: int = 0
    """When the oldest of the present requests was added."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Return whether to read on."""
        return self.when_behind == "skip" or len(self._waiting) < READ_BELOW

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, found: Sequence[Waiting], now_ns: int = 0) -> None:
        """Add requests that have come in, in this order."""
        if found:
            if not self._waiting:
                self._oldest_ns = now_ns
            self._soonest_ns = min(self._soonest_ns, *map(_target_ns, found))
            self._waiting.extend(found)

    def has_any(self, places: Collection[TopicPartition]) -> bool:
        """Return whether requests of these partitions wait."""
        return any(waiting.place in places for waiting in self._waiting)

    def drop(self, places: Collection[TopicPartition]) -> None:
        """Forget the requests of these partitions: another worker reads them again."""
        kept = [waiting for waiting in self._waiting if waiting.place not in places]
        self._waiting = deque(kept)
        self._soonest_ns = min(map(_target_ns, kept), default=_NEVER)

    def take_all(self) -> list[Waiting]:
        """Return all requests; none is waiting any more."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._soonest_ns = _NEVER
        return taken

    def refuses_at_ns(self, now_ns: int) -> int:
        """Return when the first of the waiting requests will be refused, unless it is evaluated."""
        if self.when_behind == "all" or not self._waiting:
            return _NEVER
        lead_ns = REPORT_NS + int(self.cost.of(1) * 1e6)
        if self._soonest_ns - lead_ns > now_ns:
            return self._soonest_ns - lead_ns
        return min(map(_deadline_ns, self._waiting)) - lead_ns

    def plan(self, now_ns: int, slots: int = 1) -> BatchPlan:
        """Return what to do now; the requests in the plan are no longer waiting.

        `slots` is the number of batches that can be evaluated at the same time from now on.
        """
        waiting = self._waiting
        is_held = slots < 1 or (self.batch_wait_ms > 0 and now_ns < self.held_until_ns())
        if self.when_behind == "all":
            count = 0 if is_held else min(self.batch_max, len(waiting))
            return BatchPlan([], [waiting.popleft() for _ in range(count)])
        ready_ns = now_ns + REPORT_NS + int(self.cost.of(1) * 1e6)
        refused: list[Refused] = []
        self._due = _target_ns
        if self._soonest_ns < ready_ns:
            refused = self._refuse(now_ns, ready_ns)
        while len(waiting := self._waiting) > WAITING_MAX:
            refused.append(Refused(waiting.popleft(), "behind", 0.0))
        if is_held:
            return BatchPlan(refused, [])
        batch = self._newest(now_ns)
        if not batch and refused and now_ns - self._evaluated_ns >= PROBE_NS:
            batch = self._probe(refused)
        if batch:
            self._evaluated_ns = now_ns
            if slots == 1:
                refused += self._passed_over(ready_ns + int(self.cost.of(len(batch)) * 1e6))
        if not self._waiting:
            self._soonest_ns = _NEVER
        return BatchPlan(refused, batch)

    def held_until_ns(self) -> int:
        """Return until when to wait for a larger batch; 0: not at all.

        A larger batch saves the fixed part of a smaller one's cost, so waiting longer than that
        cannot pay. Nor does it wait for more than half of the slack before the nearest deadline.
        """
        count = len(self._waiting)
        if not self.batch_wait_ms or not 0 < count < self.batch_max:
            return 0
        until_ns = self._oldest_ns + int(min(self.batch_wait_ms, self.cost.fixed_ms) * 1e6)
        if self.when_behind == "all":
            return until_ns
        slack_ns = self._soonest_ns - self._oldest_ns - int(self.cost.of(self.batch_max) * 1e6)
        return min(until_ns, self._oldest_ns + slack_ns // 2)

    def _refuse(self, now_ns: int, ready_ns: int) -> list[Refused]:
        """Remove and return the requests that would be answered too late.

        Those are the ones that miss their own turn, if others can still make theirs; if none can
        (the model has stuttered, not fallen behind), only those that miss their deadlines.
        """
        in_time = any(waiting.target_ns >= ready_ns for waiting in self._waiting)
        self._due = _target_ns if in_time else _deadline_ns
        refused: list[Refused] = []
        kept: deque[Waiting] = deque()
        for waiting in self._waiting:
            due_ns = self._due(waiting)
            if due_ns >= ready_ns:
                kept.append(waiting)
            elif waiting.deadline_ns <= now_ns:
                late_ms = (now_ns - waiting.deadline_ns) / 1e6
                refused.append(Refused(waiting, "expired", late_ms))
            else:
                refused.append(Refused(waiting, "behind", (ready_ns - due_ns) / 1e6))
        self._waiting = kept
        self._soonest_ns = min(map(_target_ns, kept), default=_NEVER)
        return refused

    def _passed_over(self, ready_ns: int) -> list[Refused]:
        """Remove and return the requests that would be too late after the batch: a refusal after it
        would cost the server all that time.
        """
        refused: list[Refused] = []
        if self._soonest_ns < ready_ns:
            kept: deque[Waiting] = deque()
            for waiting in self._waiting:
                due_ns = self._due(waiting)
                if due_ns >= ready_ns:
                    kept.append(waiting)
                else:
                    refused.append(Refused(waiting, "behind", (ready_ns - due_ns) / 1e6))
            self._waiting = kept
            self._soonest_ns = min(map(_target_ns, kept), default=_NEVER)
        return refused

    def _newest(self, now_ns: int) -> list[Waiting]:
        """Take the newest requests that one batch can finish before the first is due."""
        waiting, count = self._waiting, len(self._waiting)
        begin_ns = now_ns + REPORT_NS
        if count <= self.batch_max and begin_ns + self.cost.of(count) * 1e6 <= self._soonest_ns:
            batch = list(waiting)
            waiting.clear()
            return batch
        batch = []
        first_due_ns = _NEVER
        while waiting and len(batch) < self.batch_max:
            due_ns = min(first_due_ns, self._due(waiting[-1]))
            done_ns = begin_ns + int(self.cost.of(len(batch) + 1) * 1e6)
            if batch and done_ns > due_ns:
                break
            first_due_ns = due_ns
            batch.append(waiting.pop())
        batch.reverse()
        return batch

    def _probe(self, refused: list[Refused]) -> list[Waiting]:
        """Choose the newest request that is only behind, to be evaluated after all."""
        for number in range(len(refused) - 1, -1, -1):
            if refused[number].refusal == "behind":
                return [refused.pop(number).waiting]
        return []
