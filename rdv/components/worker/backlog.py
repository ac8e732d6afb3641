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

from rdv.components.worker.cost import Cost
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
class Backlog:
    """The requests that one worker has read and not reported yet. For one thread."""

    batch_max: int
    when_behind: WhenBehind = "skip"
    cost: Cost = field(default_factory=Cost)
    batch_wait_ms: float = 0.0
    """How long it may wait for a larger batch; see `held_until_ns`."""
    _waiting: deque[Waiting] = field(default_factory=deque)
    _soonest_ns: int = _NEVER
    """No deadline of those that wait is before this."""
    _evaluated_ns: int = 0
    _oldest_ns: int = 0
    """When the first of those that wait was added."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, found: Sequence[Waiting], now_ns: int = 0) -> None:
        """These have come in, in this order."""
        if found:
            if not self._waiting:
                self._oldest_ns = now_ns
            self._soonest_ns = min(self._soonest_ns, *map(_deadline_ns, found))
            self._waiting.extend(found)

    def plan(self, now_ns: int) -> Plan:
        """What to do now; what it names is no longer waiting."""
        waiting = self._waiting
        is_held = self.batch_wait_ms > 0 and now_ns < self.held_until_ns()
        if self.when_behind == "all":
            count = 0 if is_held else min(self.batch_max, len(waiting))
            return Plan([], [waiting.popleft() for _ in range(count)])
        ready_ns = now_ns + int(self.cost.of(1) * 1e6)
        refused: list[Refused] = []
        if self._soonest_ns < ready_ns:
            refused = self._refuse(now_ns, ready_ns)
        if is_held:
            return Plan(refused, [])
        batch = self._newest(now_ns)
        if not batch and refused and now_ns - self._evaluated_ns >= PROBE_NS:
            batch = self._probe(refused)
        if batch:
            self._evaluated_ns = now_ns
        if not waiting:
            self._soonest_ns = _NEVER
        return Plan(refused, batch)

    def held_until_ns(self) -> int:
        """Until when to wait for a larger batch; 0: not at all.

        A larger batch saves the fixed part of a smaller one's cost, so that to wait for longer
        than that cannot pay. Half of what the nearest deadline leaves is not waited away either.
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
