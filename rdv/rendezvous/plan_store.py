"""A `PlanStore` keeps the compiled schedules, and chooses the one for a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from rdv.cache import BoundedCache
from rdv.rendezvous.limits import Limits, UnknownSchedule
from rdv.rendezvous.messages import Request
from rdv.rendezvous.plan import Plan
from rdv.rendezvous.reasons import Reason
from rdv.rendezvous.schedule import InvalidSchedule, Schedule, inline_text, read_inline


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
