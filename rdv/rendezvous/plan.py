"""A schedule made ready for the engine: nanoseconds, and ranks by model."""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec
import orjson

from rdv.schedule import OTHERS, Combine, Schedule, Step

NOT_ACCEPTED = 1_000_000
"""A rank below every other."""

_ROUNDING = 1e-9


class PlanStep:
    """One step. Immutable once made; shared by all mailboxes."""

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
        """From the start of the request; whole microseconds."""
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
        """0 is the best; NOT_ACCEPTED when the step does not want this model."""
        return self.ranks.get(model, self.others_rank)

    def candidates(self, live: Collection[str], reported: Collection[str]) -> set[str]:
        """Whom the step accepts, by name; with "*", everybody who lives or has reported."""
        if not self.accepts_others:
            return set(self.names)
        return {*self.names, *live, *reported}

    def needed(self, accepted_count: int) -> int:
        """How many answers it takes, out of so many models that the step accepts."""
        if isinstance(self.need, int):
            return self.need
        return max(1, math.ceil(self.need * accepted_count - _ROUNDING))


class Plan:
    """One schedule. Immutable once made; shared by all mailboxes that were opened under it."""

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
        """The default is given then: at the SLA, or earlier if the steps end earlier."""
        self.default = msgspec.Raw(orjson.dumps(schedule.default))
        first = schedule.steps[0].accept[0]
        self.champion = None if first == OTHERS else first


def to_ns(ms: float) -> int:
    """Whole microseconds, so that times recorded to the microsecond replay to the same decision."""
    return round(ms * 1000) * 1000
