"""Derives values from the schedules of a decision."""

from __future__ import annotations

from collections.abc import Mapping

from rdv.decision import Decision
from rdv.decision.decision import read_schedules
from rdv.rendezvous.schedule import SLA_MS_MAX, Schedule


def longest_wait_ms(decision: Decision, schedules: Mapping[str, Schedule] | None = None) -> float:
    """Return how long a request of this decision may be open, in ms.

    That is the longest SLA of its schedules, and of the inline ones that its proxies accept.
    `schedules` are read anew unless given.
    """
    found = read_schedules(decision.directory).by_name if schedules is None else schedules
    longest_ms = max((schedule.sla_ms for schedule in found.values()), default=0.0)
    live = found.get(decision.schedule)
    inline_ms = 0.0 if live is None else decision.http.inline_sla_max_ms(live.sla_ms)
    return max(longest_ms, min(inline_ms, SLA_MS_MAX))
