"""A `Plan` is a schedule compiled for the engine: nanoseconds, and ranks by model."""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec
import orjson

from rdv.rendezvous.schedule import OTHERS, Combine, Schedule, Step

NOT_ACCEPTED = 1_000_000
"""The rank of models that are not accepted, below every other."""

_ROUNDING = 1e-9


class PlanStep:
    """A `PlanStep` is one step. It is immutable and shared by all mailboxes."""

    __slots__ = (
        "accepts_others",
        "combine",
        "end_ns",
        "is_single",
        "names",
        "need",
        "number",
        "on",
        "others_rank",
        "ranks",
        "top",
    )

    def __init__(self, step: Step, number: int, end_ns: int) -> None:
        self.number = number
        self.end_ns = end_ns
        """Nanoseconds from the start of the request, in whole microseconds."""
        self.ranks = {model: r for r, model in enumerate(step.accept) if model != OTHERS}
        self.names = tuple(self.ranks)
        self.others_rank = step.accept.index(OTHERS) if OTHERS in step.accept else NOT_ACCEPTED
        self.accepts_others = OTHERS in step.accept
        self.need = 1.0 if step.need == "all" else step.need
        self.is_single = step.need == 1 and isinstance(step.need, int)
        self.combine: Combine = step.combine
        self.on = step.on
        self.top = step.top

    def rank(self, model: str) -> int:
        """Return the model's rank: 0 is the best; NOT_ACCEPTED when the step does not accept it."""
        return self.ranks.get(model, self.others_rank)

    def candidates(self, live: Collection[str], reported: Collection[str]) -> set[str]:
        """Return the models that the step accepts; with "*" also all that live or have reported."""
        if not self.accepts_others:
            return set(self.names)
        return {*self.names, *live, *reported}

    def needed(self, accepted_count: int) -> int:
        """Return how many answers the step needs when it accepts `accepted_count` models."""
        if isinstance(self.need, int):
            return self.need
        return max(1, math.ceil(self.need * accepted_count - _ROUNDING))


class Plan:
    """A `Plan` is one schedule. It is immutable and shared by all mailboxes opened under it."""

    __slots__ = ("champion", "default", "label", "sla_ms", "steps", "wait_ns")

    def __init__(self, schedule: Schedule, wait_ms_max: int) -> None:
        self.label = schedule.label
        self.sla_ms = min(schedule.sla_ms, wait_ms_max)
        ends = [min(to_ns(ms), to_ns(self.sla_ms)) for ms in schedule.ends_ms()]
        self.steps = tuple(
            PlanStep(step, number, end_ns)
            for number, (step, end_ns) in enumerate(zip(schedule.steps, ends, strict=True), 1)
        )
        self.wait_ns = max(ends)
        """The time when the default is given: at the SLA, or earlier if the steps end earlier."""
        self.default = msgspec.Raw(orjson.dumps(schedule.default))
        first = schedule.steps[0].accept[0]
        self.champion = None if first == OTHERS else first


def to_ns(ms: float) -> int:
    """Convert to nanoseconds, rounded to microseconds, so that recorded times replay alike."""
    return round(ms * 1000) * 1000
