"""What a worker does with the requests that wait. Pure: `now_ns` is an argument.

What can no longer make its deadline is refused before the rest is evaluated ("don't wait for me,
I'm behind"), so that the server can go on without this model; of the rest the newest come first,
because they have the most time left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rdv.messages import Request

WhenBehind = Literal["skip", "all"]


class Waiting(NamedTuple):
    """A request in the worker's hands, and where its score belongs."""

    request: Request
    line: bytes
    partition: int
    arrived_ns: int
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
    """What a batch costs, learned from the batches so far: fixed + rows x per row.

    Two exponentially weighted means (of small batches and of the slope) would need batches of
    many sizes; one mean for the smallest batch seen lately and one per row is enough to tell who
    is behind, and errs on the side of evaluating.
    """

    batch_ms: float = 0.0
    row_ms: float = 0.0

    def learn(self, rows: int, took_ms: float) -> None:
        weight = 0.1 if self.batch_ms else 1.0
        self.batch_ms += weight * (took_ms - self.batch_ms)
        self.row_ms += weight * (took_ms / rows - self.row_ms)

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

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)

    def plan(self, now_ns: int) -> Plan:
        """What to do now; what it names is no longer waiting."""
        refused: list[Refused] = []
        if self.when_behind == "all":
            count = min(self.batch_max, len(self._waiting))
            return Plan(refused, [self._waiting.popleft() for _ in range(count)])
        ready_ns = now_ns + int(self.cost.of(1) * 1e6)
        kept: deque[Waiting] = deque()
        for waiting in self._waiting:
            if waiting.deadline_ns <= now_ns:
                late_ms = (now_ns - waiting.deadline_ns) / 1e6
                refused.append(Refused(waiting, "expired", late_ms))
            elif waiting.deadline_ns < ready_ns:
                late_ms = (ready_ns - waiting.deadline_ns) / 1e6
                refused.append(Refused(waiting, "behind", late_ms))
            else:
                kept.append(waiting)
        self._waiting = kept
        return Plan(refused, self._newest(now_ns))

    def _newest(self, now_ns: int) -> list[Waiting]:
        """The newest that one batch can finish before the first of their deadlines."""
        batch: list[Waiting] = []
        first_deadline_ns = 2**63
        while self._waiting and len(batch) < self.batch_max:
            newest = self._waiting[-1]
            deadline_ns = min(first_deadline_ns, newest.deadline_ns)
            done_ns = now_ns + int(self.cost.of(len(batch) + 1) * 1e6)
            if batch and done_ns > deadline_ns:
                break
            first_deadline_ns = deadline_ns
            batch.append(self._waiting.pop())
        batch.reverse()
        return batch
