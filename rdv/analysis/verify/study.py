"""Check every recorded decision, batch by batch: is it the same again, or what differs?"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import orjson

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import ABSENT, NOWHERE, UNANSWERED, Joined
from rdv.analysis.dataset.liveness import ModelNews, read_model_news
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.exploration.draws import Draws, read_draws
from rdv.analysis.verify.redecide import Replayer, differences, is_same_answer, possible_knowledge
from rdv.analysis.verify.result import Difference, Verification
from rdv.analysis.verify.unanswered import Unanswered
from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.rendezvous.messages import Arrival, Request, Result, Score, result_code
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.schedule.load import INLINE_NAME

EXAMPLES_MAX = 1_000
HEARING_NS = 5 * 10**9
"""How many ns after it is recorded, at most, a server knows of a model's death; by the clocks of
two processes it may also know a little earlier.
"""
_NO_SCHEDULE = ("unknown_schedule", "invalid_schedule")


def verify(
    recorded: Recorded,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Replay the requests between these append times. `progress` gets numbers of done requests.

    Raises NothingRecorded, and the log's SystemFaults.
    """
    join = Join(recorded, since_ns, until_ns, clock=clock)
    found = Verification(notes=join.notes)
    check = _Check(
        found,
        read_schedules(recorded, join.notes),
        read_model_news(recorded, join.notes),
        read_draws(recorded, join.notes),
    )
    unanswered = Unanswered(recorded, clock, join.notes)
    for joined in join:
        check.batch(joined)
        unanswered.look(joined)
        progress(len(joined))
    for id_ in join.notes.twice_answered:
        check.differ(id_, {"results": (2, 1)})
    unanswered.settle(found)
    return found


class _Check:
    """Checks the rows of a batch one by one."""

    def __init__(
        self, found: Verification, shelf: ScheduleShelf, news: ModelNews, draws: Draws
    ) -> None:
        self._found, self._shelf, self._news, self._draws = found, shelf, news, draws
        self._replayer = Replayer()

    def batch(self, joined: Joined) -> None:
        self._found.requests += len(joined)
        reporting = (joined.outcome != ABSENT).any(axis=1)
        active = {m for m, reports in zip(joined.models, reporting, strict=True) if reports}
        self._active = frozenset(active)
        for row in np.flatnonzero(joined.answered_by != UNANSWERED).tolist():
            if joined.own_at[row] != NOWHERE:
                self._own_answer(joined, row)
            if joined.result_at[row] != NOWHERE:
                self._decision(joined, row)

    def differ(self, id_: str, fields: dict[str, tuple[object, object]]) -> None:
        self._found.differing += 1
        if len(self._found.differences) < EXAMPLES_MAX:
            self._found.differences.append(Difference(id_, fields))

    def _own_answer(self, joined: Joined, row: int) -> None:
        own = joined.own_answer(row)
        assert own is not None
        schedule = self._shelf.find(own.schedule, joined.asked.at(row))
        if schedule is None:
            text = "a proxy's answer by a schedule that is not recorded"
            self._found.leave_unchecked("schedule_not_recorded", text)
            return
        wrong = _not_default(own, schedule)
        if wrong:
            self.differ(own.id, wrong)
        else:
            self._found.own += 1

    def _decision(self, joined: Joined, row: int) -> None:
        result, request = joined.server_result(row), joined.request(row)
        assert result is not None
        schedule = self._shelf.find(result.schedule, joined.asked.at(row))
        if schedule is None:
            text = f"schedule {result.schedule} is not recorded"
            self._found.leave_unchecked("schedule_not_recorded", text)
            return
        if wrong := self._wrong_schedule(request, result) or self._draws.fault(request):
            self.differ(result.id, wrong)
            return
        code = result_code(result)
        if code in ("overloaded", "record_too_large") or code in _NO_SCHEDULE:
            if wrong := _not_default(result, schedule):
                self.differ(result.id, wrong)
            else:
                self._found.same += 1
                self._found.overloaded += code == "overloaded"
            return
        reports: list[tuple[Arrival, Score]] = []
        for arrival in result.arrived:
            if arrival.model in request.not_asked:
                continue
            score = joined.score(joined.models.index(arrival.model), row)
            if score is None:
                text = f"a score of {arrival.model} is not recorded"
                self._found.leave_unchecked("score_not_recorded", text)
                return
            reports.append((arrival, score))
        at_ns = int(joined.append_ns[row])
        self._replay(request, result, reports, schedule, at_ns)

    def _wrong_schedule(self, request: Request, result: Result) -> dict[str, tuple[object, object]]:
        """Check that the schedule that decided is the one that was asked for."""
        if request.schedule is None or result_code(result) in _NO_SCHEDULE:
            return {}
        asked = request.schedule if isinstance(request.schedule, str) else INLINE_NAME
        if result.schedule.partition("@")[0] == asked:
            return {}
        return {"schedule": (result.schedule, asked)}

    def _replay(
        self,
        request: Request,
        result: Result,
        reports: list[tuple[Arrival, Score]],
        schedule: Schedule,
        at_ns: int,
    ) -> None:
        span_ns = int(result.waited_ms * 1e6) + HEARING_NS
        states = possible_knowledge(
            self._active,
            frozenset(arrival.model for arrival in result.arrived),
            self._news.dead_while(request.host, request.monotonic_ns, at_ns, span_ns),
        )
        first: dict[str, tuple[object, object]] | None = None
        for knowledge in states:
            again = first is not None
            replayed = self._replayer.decide(
                request, result, reports, schedule, knowledge, again=again
            )
            wrong = differences(result, replayed)
            if not wrong:
                self._found.same += 1
                self._found.by_liveness += again
                return
            first = wrong if first is None else first
        self.differ(result.id, first or {})


def _not_default(result: Result, schedule: Schedule) -> dict[str, tuple[object, object]]:
    """Return what keeps a result from being the marked default of the schedule."""
    default = msgspec.Raw(orjson.dumps(schedule.default))
    pairs: dict[str, tuple[object, object]] = {
        "kind": (result.kind, "default"),
        "model": (result.model, None),
        "schedule": (result.schedule, schedule.label),
        "arrived": (msgspec.to_builtins(result.arrived), []),
    }
    if not is_same_answer(result, default):
        pairs["result"] = (bytes(result.result).decode(), bytes(default).decode())
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
