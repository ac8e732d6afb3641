"""Check plans, which prepare schedules for the engine."""

from __future__ import annotations

import pytest

from rdv.rendezvous.plan import Plan, to_ns
from rdv.rendezvous.schedule import SLA_MS_MAX, schedule_from_object


def make_plan(sla_ms=50, **step) -> Plan:
    plain = {"sla_ms": sla_ms, "default": 0, "step": [{"accept": ["*"], **step}]}
    return Plan(schedule_from_object(plain, "s", sla_ms_max=3_600_000), SLA_MS_MAX)


@pytest.mark.parametrize(
    ("need", "of", "expected"),
    [(0.55, 100, 55), (0.8, 5, 4), (0.6, 4, 3), (0.1, 3, 1), (1.0, 3, 3), ("all", 3, 3), (2, 9, 2),
     (0.5, 0, 1)],
)  # fmt: skip
def test_needed(need, of, expected) -> None:
    """0.55 of 100 is 55, whatever binary fractions give; and at least one is needed."""
    assert make_plan(need=need).steps[0].needed(of) == expected


def test_a_longer_sla_of_an_old_log_is_cut_as_it_was_then() -> None:
    assert make_plan(sla_ms=3_600_000).wait_ns == 60_000 * 1_000_000


def test_times_are_whole_microseconds() -> None:
    assert to_ns(0.1 + 0.2) == 300_000
    assert to_ns(12.3456) == 12_346_000
