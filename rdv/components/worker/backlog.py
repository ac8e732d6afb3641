"""What a worker does with the requests that wait. Pure: `now_ns` is an argument.

What can no longer make its deadline is refused before the rest is evaluated ("don't wait for me,
I'm behind"), so that the server can go on without this model; of the rest the newest come first,
because they have the most time left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal, NamedTuple

import msgspec

from rdv.messages import Request
from rdv.stream import Record

WhenBehind = Literal["skip", "all"]

PROBE_NS = 1_000_000_000
"""A model that refuses everything is tried on one request as often as this: it may be quick again
(a first call is often slow), and nobody would learn of it otherwise."""

_NEVER = 2**63
_deadline_ns = attrgetter("deadline_ns")


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A request in the worker's hands, and the record that it came in."""

    request: Request
    record: Record
    deadline_ns: int
    """On this host's monotonic clock."""


class Refused(NamedTuple):
    """A request that will not be evaluated, and why."""

    waiting: Waiting
    refusal: Literal["behind", "expired"]
    late_ms: float


class Plan(NamedTuple):
    """What to report at once, and what to evaluate next, as one batch."""

    refused: list[Refused]
    batch: list[Waiting]


@dataclass
class Cost:
    """What a row costs, as learned from the batches so far: a weighted mean.

    A batch that was quicker than expected is believed more than one that was slower: a stutter
    must not make a model refuse what it can do.
    """

    row_ms: float = 0.0

    def learn(self, rows: int, took_ms: float) -> None:
        seen_ms = took_ms / rows
        weight = 1.0 if not self.row_ms else 0.5 if seen_ms < self.row_ms / 2 else 0.1
        self.row_ms += weight * (seen_ms - self.row_ms)

    def of(self, rows: int) -> float:
        """Expected milliseconds of a batch; 0 as long as nothing is known."""
        return self.row_ms * rows


@dataclass
class Backlog:
    """The requests that one worker has read and not reported yet. For one thread."""

    batch_max: int
    when_behind: WhenBehind = "skip"
    cost: Cost = field(default_factory=Cost)
    _waiting: deque[Waiting] = field(default_factory=deque)
    _soonest_ns: int = _NEVER
    """No deadline of those that wait is before this."""
    _evaluated_ns: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, found: Sequence[Waiting]) -> None:
        """These have come in, in this order."""
        if found:
            self._soonest_ns = min(self._soonest_ns, *map(_deadline_ns, found))
            self._waiting.extend(found)

    def plan(self, now_ns: int) -> Plan:
        """What to do now; what it names is no longer waiting."""
        waiting = self._waiting
        if self.when_behind == "all":
            return Plan([], [waiting.popleft() for _ in range(min(self.batch_max, len(waiting)))])
        ready_ns = now_ns + int(self.cost.of(1) * 1e6)
        refused: list[Refused] = []
        if self._soonest_ns < ready_ns:
            refused = self._refuse(now_ns, ready_ns)
        batch = self._newest(now_ns)
        if not batch and refused and now_ns - self._evaluated_ns >= PROBE_NS:
            batch = self._probe(refused)
        if batch:
            self._evaluated_ns = now_ns
        if not waiting:
            self._soonest_ns = _NEVER
        return Plan(refused, batch)

    def _refuse(self, now_ns: int, ready_ns: int) -> list[Refused]:
        refused: list[Refused] = []
        kept: deque[Waiting] = deque()
        for waiting in self._waiting:
            deadline_ns = waiting.deadline_ns
            if deadline_ns <= now_ns:
                refused.append(Refused(waiting, "expired", (now_ns - deadline_ns) / 1e6))
            elif deadline_ns < ready_ns:
                refused.append(Refused(waiting, "behind", (ready_ns - deadline_ns) / 1e6))
            else:
                kept.append(waiting)
        self._waiting = kept
        self._soonest_ns = min((waiting.deadline_ns for waiting in kept), default=_NEVER)
        return refused

    def _newest(self, now_ns: int) -> list[Waiting]:
        """The newest that one batch can finish before the first of their deadlines."""
        waiting, count = self._waiting, len(self._waiting)
        if count <= self.batch_max and now_ns + self.cost.of(count) * 1e6 <= self._soonest_ns:
            batch = list(waiting)
            waiting.clear()
            return batch
        batch = []
        first_deadline_ns = _NEVER
        while waiting and len(batch) < self.batch_max:
            deadline_ns = min(first_deadline_ns, waiting[-1].deadline_ns)
            done_ns = now_ns + int(self.cost.of(len(batch) + 1) * 1e6)
            if batch and done_ns > deadline_ns:
                break
            first_deadline_ns = deadline_ns
            batch.append(waiting.pop())
        batch.reverse()
        return batch

    def _probe(self, refused: list[Refused]) -> list[Waiting]:
        """The newest of those that are only behind, evaluated after all."""
        for number in range(len(refused) - 1, -1, -1):
            if refused[number].refusal == "behind":
                return [refused.pop(number).waiting]
        return []
