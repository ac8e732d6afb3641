"""The reference states the decision rule plainly: `Engine` must agree with it, `explain` uses it.

It looks at a complete history instead of events one by one. Slow, and meant to be read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec
import orjson
from msgspec import UNSET

from rdv.rendezvous.messages import Kind, Score
from rdv.rendezvous.rules import combine_results
from rdv.rendezvous.schedule import OTHERS, Schedule, Step


@dataclass(frozen=True)
class Report:
    """A `Report` is a score with its arrival: ns from the request's start, negative before it."""

    at_ns: int
    score: Score


@dataclass(frozen=True)
class LivenessChange:
    """A `LivenessChange` is a model that came up or went down, in ns from the request's start."""

    at_ns: int
    model: str
    is_up: bool


History = Sequence[Report | LivenessChange]
"""The events in their order in the log, even at equal times."""


@dataclass(frozen=True)
class Decision:
    """A `Decision` is the answer to a request.

    `at_ns` counts from the request's start; the engine may return the answer later.
    """

    kind: Kind
    models: tuple[str, ...]
    result: bytes
    step: int
    at_ns: int
    arrived: tuple[str, ...] = ()
    """The models that had reported by then, in order."""


@dataclass
class _State:
    """A `_State` is what is known at one instant."""

    live: set[str]
    dead: set[str]
    reports: dict[str, Score] = field(default_factory=dict)

    def learn(self, event: Report | LivenessChange) -> None:
        if isinstance(event, Report):
            self.reports.setdefault(event.score.model, event.score)
        else:
            (self.live if event.is_up else self.dead).add(event.model)
            (self.dead if event.is_up else self.live).discard(event.model)


def decide(
    schedule: Schedule,
    history: History,
    *,
    live: Collection[str] = (),
    dead: Collection[str] = (),
    deadline_ms: float | None = None,
    seen_ns: int = 0,
    left_out: Collection[str] = (),
) -> Decision:
    """Return the decision about one request, which depends only on the arguments.

    `live` and `dead` are what is known when the request is seen, `seen_ns` after its start.
    `left_out`: the models that the client's own choice of models leaves out.
    """
    own_ms = max(schedule.ends_ms())
    deadline_ns = _ns(own_ms if deadline_ms is None else max(0.0, min(own_ms, deadline_ms)))
    default = Decision("default", (), orjson.dumps(schedule.default), 0, deadline_ns)
    if seen_ns >= deadline_ns:
        return default
    state = _State(set(live), set(dead))
    now_ns, coming = 0, list(history)
    while coming and coming[0].at_ns < 0:
        state.learn(coming.pop(0))
    for number, (step, end_ms) in enumerate(
        zip(schedule.steps, schedule.ends_ms(), strict=True), 1
    ):
        end_ns = min(_ns(end_ms), deadline_ns)
        while True:  # one iteration per instant of the step: its start, and every event in it
            if _is_judged(schedule, state):
                return Decision("default", (), default.result, 0, now_ns, tuple(state.reports))
            if winners := _winners(step, state):
                first = _first_choice(schedule, left_out)
                return _decision(schedule, number, winners, now_ns, state, first)
            if now_ns >= end_ns or not _can_be_met(step, state):
                break
            if not coming or coming[0].at_ns >= end_ns:
                now_ns = end_ns
                break
            now_ns = coming[0].at_ns
            state.learn(coming.pop(0))
    return Decision("default", (), default.result, 0, now_ns, tuple(state.reports))


def _ns(ms: float) -> int:
    return round(ms * 1000) * 1000


def _rank(step: Step, model: str) -> int | None:
    for place in (model, OTHERS):
        if place in step.accept:
            return step.accept.index(place)
    return None


def _accepted(step: Step, state: _State) -> set[str]:
    named = {model for model in step.accept if model != OTHERS}
    return named | state.live | set(state.reports) if OTHERS in step.accept else named


def _needed(step: Step, state: _State) -> int:
    count = len(_accepted(step, state))
    if step.need == "all":
        return max(1, count)
    if isinstance(step.need, int):
        return step.need
    enough = (n for n in range(1, count + 1) if n >= step.need * count - 1e-9)
    return next(enough, 1)


def _answers(step: Step, state: _State) -> list[Score]:
    """Return the answers by rank; those of equal rank in order of arrival (`sorted` is stable)."""
    ranked = [
        (rank, score)
        for score in state.reports.values()
        if score.result is not UNSET and (rank := _rank(step, score.model)) is not None
    ]
    return [score for _, score in sorted(ranked, key=lambda pair: pair[0])]


def _winners(step: Step, state: _State) -> list[Score]:
    answers = _answers(step, state)
    return answers if answers and len(answers) >= _needed(step, state) else []


def _can_be_met(step: Step, state: _State) -> bool:
    if OTHERS in step.accept and not state.live and not state.dead:
        return True  # no model is known: any model may report
    pending = _accepted(step, state) - set(state.reports) - state.dead
    return len(_answers(step, state)) + len(pending) >= _needed(step, state)


def _is_judged(schedule: Schedule, state: _State) -> bool:
    """Return whether a judge has said that the data is invalid."""
    return any(
        score.refusal == "bad input"
        for model, score in state.reports.items()
        if model in schedule.input_judges
    )


def _first_choice(schedule: Schedule, left_out: Collection[str]) -> tuple[int, str]:
    """Return the step and the entry of `accept` that the schedule would like best."""
    for number, step in enumerate(schedule.steps, 1):
        for entry in step.accept:
            if entry == OTHERS or entry not in left_out:
                return number, entry
    return 1, schedule.steps[0].accept[0]


def _decision(
    schedule: Schedule,
    number: int,
    winners: list[Score],
    at_ns: int,
    state: _State,
    first: tuple[int, str],
) -> Decision:
    step = schedule.steps[number - 1]
    results = [score.result for score in winners if score.result is not UNSET]
    best = winners[0].model
    first_step = schedule.steps[first[0] - 1]
    is_preferred = _rank(first_step, best) == first_step.accept.index(first[1])
    models: tuple[str, ...] = (best,)
    result: msgspec.Raw | None = results[0]
    if step.combine != "best":
        result = combine_results(step.combine, results, step.on, step.top)
        is_preferred = number == first[0] and result is not None
        models = tuple(score.model for score in winners) if result is not None else models
    kind: Kind = "preferred" if is_preferred else "fallback"
    return Decision(kind, models, bytes(result or results[0]), number, at_ns, tuple(state.reports))
