"""A `Plan` is a schedule compiled for the engine; a `PlanStore` chooses the one for a request."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec
import orjson

from rdv.cache import BoundedCache
from rdv.rendezvous.limits import Limits, UnknownSchedule
from rdv.rendezvous.messages import Request
from rdv.rendezvous.reasons import Reason
from rdv.rendezvous.schedule import (
    OTHERS,
    Combine,
    InvalidSchedule,
    Schedule,
    Step,
    inline_text,
    read_inline,
)

NOT_ACCEPTED = 1_000_000
"""The rank of models that are not accepted, below every other."""

_ROUNDING = 1e-9


class PlanStep:
    """A `PlanStep` is one step. It is immutable and shared by all mailboxes."""

    __slots__ = (
        "accepts_others", "combine", "end_ns", "is_single", "names", "need", "needs_min", "number",
        "on", "others_rank", "ranks", "top",
    )  # fmt: skip

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
        self.needs_min = 1 if self.accepts_others else self.needed(len(self.names))
        """How many answers the step needs: all of them, unless it accepts any model."""
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
    """A `Plan` is one schedule, in ns and ranks by model: immutable, shared by its mailboxes."""

    __slots__ = (
        "champion", "default", "first", "input_judges", "label", "sla_ms", "steps", "wait_ns",
    )  # fmt: skip

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
        self.input_judges = frozenset(schedule.input_judges)
        self.first = self.first_choice()
        """The first choice where all models are asked."""

    def first_choice(self, left_out: Collection[str] = ()) -> tuple[int, int]:
        """Return the step and the rank of the first choice among the models that are asked.

        `left_out`: the models that the client's own `models` leaves out. What gives the first
        choice's answer is preferred, everything else a fallback.
        """
        for step in self.steps:
            ranks = [rank for name, rank in step.ranks.items() if name not in left_out]
            if step.accepts_others:
                ranks.append(step.others_rank)
            if ranks:
                return step.number, min(ranks)
        return 1, 0

    def first_choice_name(self, left_out: Collection[str] = ()) -> str | None:
        """Return the model of `first_choice`; None where "*" stands first. Off the hot path."""
        number, rank = self.first_choice(left_out)
        ranks = self.steps[number - 1].ranks
        return next((name for name, its in ranks.items() if its == rank), None)


class PlanStore:
    """A `PlanStore` keeps plans by name, the live one, and a bounded cache of inline ones.

    One thread at a time.
    """

    def __init__(self, schedules: Mapping[str, Schedule], live: str, limits: Limits) -> None:
        self._limits = limits
        self._inline = BoundedCache[Plan | Reason](
            limits.inline_schedules_max, limits.inline_cache_bytes_max
        )
        self._plans: dict[str, Plan] = {}
        self.change(schedules, live)

    def change(self, schedules: Mapping[str, Schedule], live: str) -> None:
        """Replace the schedules. Raises UnknownSchedule, and then nothing has changed."""
        if live not in schedules:
            raise UnknownSchedule(live, tuple(sorted(schedules)))
        limit = self._limits.wait_ms_max
        self._before = self._plans
        self._plans = {name: Plan(schedule, limit) for name, schedule in schedules.items()}
        self.live = self._plans[live]

    def find(self, label: str) -> Plan | None:
        """Return the plan of a result's label while it is still known: a scan, off the hot path."""
        known: Iterable[Plan | Reason] = chain(
            self._plans.values(), self._before.values(), self._inline.values()
        )
        plans = (plan for plan in known if isinstance(plan, Plan))
        return next((plan for plan in plans if plan.label == label), None)

    def plan_for(self, request: Request) -> tuple[Plan, Reason | None]:
        """Return the requested plan; or the live one, and why not the requested one."""
        wanted = request.schedule
        if wanted is None:
            return self.live, None
        if isinstance(wanted, str):
            found: Plan | Reason = self._plans.get(wanted) or Reason(
                "unknown_schedule", f"unknown schedule {wanted[:80]!r}"
            )
        else:
            found = self._inlined(wanted)
        return (self.live, found) if isinstance(found, Reason) else (found, None)

    def _inlined(self, wanted: dict[str, Any]) -> Plan | Reason:
        try:
            text = inline_text(wanted)
        except InvalidSchedule as error:
            return _invalid(error.text())
        found = self._inline.get(text)
        if found is None:
            found = self._compile(wanted, text)
            self._inline.put(text, found, len(text))
        return found

    def _compile(self, wanted: dict[str, Any], text: bytes) -> Plan | Reason:
        limits = self._limits
        try:
            schedule = read_inline(wanted, text, bytes_max=limits.inline_bytes_max)
            return Plan(schedule, limits.wait_ms_max)
        except InvalidSchedule as error:
            return _invalid(error.text())


def _invalid(what: str) -> Reason:
    return Reason("invalid_schedule", f"invalid {what}")


def to_ns(ms: float) -> int:
    """Convert to nanoseconds, rounded to microseconds, so that recorded times replay alike."""
    return round(ms * 1000) * 1000
