"""Find out whether a model would keep up with the recorded requests, at N times their pace.

The worker's own rules apply (which requests to refuse, how large a batch to take), over a simulated
clock: it advances by the time that each batch really takes in the model's process, and skips the
time without requests. So an hour of the log takes as long as its evaluations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rdv.analysis.dataset.join import collector_paused
from rdv.analysis.replay.child import NOTHING
from rdv.analysis.replay.evaluator import Evaluator
from rdv.analysis.replay.result import Pace, Replayed
from rdv.analysis.replay.study import Recorder, Requests
from rdv.rendezvous.backlog import Backlog, Waiting
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


def replay_paced(
    source: Requests,
    evaluator: Evaluator,
    recorder: Recorder,
    found: Replayed,
    backlog: Backlog,
    *,
    speed: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Pace:
    """Replay all requests at `speed` times their recorded pace, by a worker's rules: `backlog`.

    Raises ModelKeepsEnding, TooManyValues, the log's SystemFaults.
    """
    pace = Pace(speed)
    run = _Run(_Coming(_asked(source, found.name, speed)), evaluator, recorder, backlog, pace)
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
        backlog: Backlog,
        pace: Pace,
    ) -> None:
        self._coming, self._evaluator = coming, evaluator
        self._recorder, self._backlog, self._pace = recorder, backlog, pace
        self._now_ns = ORIGIN_NS
        self._done = 0

    def take_done(self) -> int:
        """Return the number of requests done since the last call."""
        done, self._done = self._done, 0
        return done

    def turn(self) -> bool:
        """Read, refuse and evaluate one batch, like a worker's turn; return False at the end."""
        backlog, pace = self._backlog, self._pace
        backlog.add([_waiting(one) for one in self._coming.until(self._now_ns)], self._now_ns)
        pace.waiting_max = max(pace.waiting_max, len(backlog))
        refused, batch = backlog.plan(self._now_ns) if len(backlog) else ([], [])
        for one in refused:
            if one.refusal == "expired":
                pace.expired += 1
            else:
                pace.behind += 1
            asked = _asked_of(one.waiting)
            self._recorder.refused(asked.request, asked.append_ns, one.refusal)
        self._done += len(refused) + len(batch)
        if batch:
            self._evaluate([_asked_of(waiting) for waiting in batch])
        elif not refused:
            return self._jump()
        return True

    def _jump(self) -> bool:
        """Move the clock to the next moment when something happens; return False without one."""
        moments = []
        if self._coming.next is not None:
            moments.append(self._coming.next.arrival_ns)
        if len(self._backlog):
            moments.append(max(self._now_ns + 1, self._backlog.held_until_ns()))
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
        self._backlog.cost.learn(len(batch), evaluated.took_ns / 1e6)
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


def _waiting(asked: Asked) -> Waiting:
    block: Any = asked  # the rules do not read the block; it carries our request
    return Waiting(asked.request, block, 0, asked.deadline_ns, asked.target_ns)


def _asked_of(waiting: Waiting) -> Asked:
    asked: Any = waiting.block
    assert isinstance(asked, Asked)
    return asked


def _asked(source: Requests, name: str, speed: float) -> Iterator[Asked]:
    """Yield the requests on the simulated clock. The speed does not change the deadlines."""
    first_ns, latest_ns = None, ORIGIN_NS
    for stretch in source:
        every = zip(stretch.requests, stretch.rows, stretch.append_ns, strict=True)
        for request, row, append_ns in every:
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
