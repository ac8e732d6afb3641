"""Find out whether a model would keep up with the recorded requests, at N times their pace.

The worker's own rules apply (which requests to refuse, how large a batch to take), over a simulated
clock: it advances by the time that each batch really takes in the model's process, and skips the
time without requests. So an hour of the log takes as long as its evaluations.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from rdv.analysis.dataset.join import collector_paused
from rdv.analysis.replay.child import NOTHING
from rdv.analysis.replay.evaluator import Evaluator
from rdv.analysis.replay.source import Stretch
from rdv.analysis.replay.study import Recorder, Replayed, Requests
from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule import SLA_MS_MAX

ORIGIN_NS = 10**15
"""Where the simulated clock begins, so that there are times before the first request."""

HOP_MS = 0.1
"""The ms from the end of an evaluation to the server: an append and a wake-up."""
WAITED_MAX = 1_000_000


class Asked(NamedTuple):
    """A request on the simulated clock. `row` is in the form that the model takes."""

    request: Request
    row: bytes
    append_ns: int
    start_ns: int
    arrival_ns: int
    deadline_ns: int
    target_ns: int
    """By when the schedule at that time wanted this model's answer."""


class Rules(Protocol):
    """A worker's rules for waiting requests, as `rdv.rendezvous.backlog.Backlog` has them."""

    def __len__(self) -> int: ...
    def add(self, found: Sequence[Asked], now_ns: int) -> None:
        """Add requests that have come in."""

    def plan(self, now_ns: int) -> tuple[list[tuple[Asked, str]], list[Asked]]:
        """Return requests to refuse, with the refusals, and the next batch."""

    def held_until_ns(self) -> int:
        """Return until when it waits for a larger batch."""

    def learn(self, rows: int, took_ms: float) -> None:
        """Learn how long a batch took."""


@dataclass
class Pace:
    """The figures of a paced replay."""

    speed: float
    in_time: int = 0
    """Scores before the deadline of their request."""
    in_turn: int = 0
    """Of these, scores while the schedule at that time wanted this model's answer."""
    late: int = 0
    failed: int = 0
    """Errors, which do not count as in time however quick they are."""
    behind: int = 0
    expired: int = 0
    batches: int = 0
    waiting_max: int = 0
    recorded_s: float = 0.0
    """The seconds between the first and the last request, at this speed."""
    busy_ns: int = 0
    waited_ms: array[float] = field(default_factory=lambda: array("d"))
    """The times in ms from the start of each request to its score, for the first million."""

    @property
    def requests(self) -> int:
        return self.in_time + self.late + self.failed + self.behind + self.expired


def replay_paced(
    source: Requests,
    evaluator: Evaluator,
    recorder: Recorder,
    found: Replayed,
    rules: Rules,
    *,
    speed: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Pace:
    """Replay all requests at `speed` times their recorded pace.

    Raises ModelKeepsEnding, TooManyValues, the log's SystemFaults.
    """
    pace = Pace(speed)
    run = _Run(_Coming(_asked(source, found.name, speed)), evaluator, recorder, rules, pace)
    began_s = time.monotonic()
    with collector_paused():
        while run.turn():
            progress(run.take_done())
    found.seconds = time.monotonic() - began_s
    found.ends = evaluator.ends
    found.notes = source.notes
    return pace


class _Coming:
    """Requests in their order, read one ahead."""

    def __init__(self, asked: Iterator[Asked]) -> None:
        self._asked = asked
        self.next: Asked | None = next(asked, None)

    def until(self, now_ns: int) -> list[Asked]:
        """Return those that have arrived by `now_ns`."""
        found = []
        while self.next is not None and self.next.arrival_ns <= now_ns:
            found.append(self.next)
            self.next = next(self._asked, None)
        return found


class _Run:
    """One worker on the simulated clock."""

    def __init__(
        self,
        coming: _Coming,
        evaluator: Evaluator,
        recorder: Recorder,
        rules: Rules,
        pace: Pace,
    ) -> None:
        self._coming, self._evaluator = coming, evaluator
        self._recorder, self._rules, self._pace = recorder, rules, pace
        self._now_ns = ORIGIN_NS
        self._done = 0

    def take_done(self) -> int:
        """Return the number of requests done since the last call."""
        done, self._done = self._done, 0
        return done

    def turn(self) -> bool:
        """Read, refuse and evaluate one batch, like a worker's turn; return False at the end."""
        rules, pace = self._rules, self._pace
        rules.add(self._coming.until(self._now_ns), self._now_ns)
        pace.waiting_max = max(pace.waiting_max, len(rules))
        refused, batch = rules.plan(self._now_ns) if len(rules) else ([], [])
        for asked, refusal in refused:
            if refusal == "expired":
                pace.expired += 1
            else:
                pace.behind += 1
            self._recorder.refused(asked.request, asked.append_ns, refusal)
        self._done += len(refused) + len(batch)
        if batch:
            self._evaluate(batch)
        elif not refused:
            return self._jump()
        return True

    def _jump(self) -> bool:
        """Move the clock to the next moment when something happens; return False without one."""
        moments = []
        if self._coming.next is not None:
            moments.append(self._coming.next.arrival_ns)
        if len(self._rules):
            moments.append(max(self._now_ns + 1, self._rules.held_until_ns()))
        if not moments:
            return False
        self._now_ns = max(self._now_ns, min(moments))
        return True

    def _evaluate(self, batch: list[Asked]) -> None:
        pace = self._pace
        evaluated = self._evaluator.evaluate([asked.row for asked in batch])
        self._now_ns += evaluated.took_ns
        pace.busy_ns += evaluated.took_ns
        pace.batches += 1
        self._rules.learn(len(batch), evaluated.took_ns / 1e6)
        reported_ns = self._now_ns + int(HOP_MS * 1e6)
        waited_ms = [(reported_ns - asked.start_ns) / 1e6 for asked in batch]
        for asked, code in zip(batch, evaluated.codes, strict=True):
            if code and code != NOTHING:
                pace.failed += 1
            elif reported_ns <= asked.deadline_ns:
                pace.in_time += 1
                pace.in_turn += reported_ns <= asked.target_ns
            else:
                pace.late += 1
        if len(pace.waited_ms) < WAITED_MAX:
            pace.waited_ms.extend(waited_ms)
        pace.recorded_s = max(pace.recorded_s, (batch[-1].arrival_ns - ORIGIN_NS) / 1e9)
        requests = [asked.request for asked in batch]
        appended = [asked.append_ns for asked in batch]
        self._recorder.evaluated(requests, appended, evaluated, waited_ms)


def _asked(source: Requests, name: str, speed: float) -> Iterator[Asked]:
    """Yield the requests on the simulated clock. The speed does not change the deadlines."""
    first_ns, latest_ns = None, ORIGIN_NS
    for stretch in source:
        for request, row, append_ns in _each(stretch):
            if first_ns is None:
                first_ns = append_ns
            # If the wall clock was set back, the simulated clock does not go back.
            latest_ns = max(latest_ns, ORIGIN_NS + int((append_ns - first_ns) / speed))
            start_ns = latest_ns - min(max(0, append_ns - request.time_ns), 10**9)
            wait_ms = request.deadline_ms
            if wait_ms is None or wait_ms > SLA_MS_MAX:
                wait_ms = SLA_MS_MAX
            deadline_ns = start_ns + int(wait_ms * 1e6)
            window_ms = request.windows_ms.get(name, wait_ms)
            target_ns = min(deadline_ns, start_ns + int(window_ms * 1e6))
            yield Asked(request, row, append_ns, start_ns, latest_ns, deadline_ns, target_ns)


def _each(stretch: Stretch) -> Iterator[tuple[Request, bytes, int]]:
    return zip(stretch.requests, stretch.rows, stretch.append_ns, strict=True)
