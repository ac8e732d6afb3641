"""Check the watch period of a new champion."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.promote.watch import ANSWERS_MIN, Answer, Bounds, WatchPeriod

BOUNDS = Bounds(misses=0.01, defaults=0.02, errors=0.005, others=0.05)
FINE = Answer(is_miss=False, is_default=False, is_error=False, is_other=False)
BAD = {
    "misses": Answer(is_miss=True, is_default=False, is_error=False, is_other=False),
    "defaults": Answer(is_miss=False, is_default=True, is_error=None, is_other=False),
    "errors": Answer(is_miss=False, is_default=False, is_error=True, is_other=False),
    "others": Answer(is_miss=False, is_default=False, is_error=None, is_other=True),
}


def feed(period, answers):
    """Return the number of answers until the first breach; None without one."""
    for number, answer in enumerate(answers):
        period.add(answer)
        if period.breaches():
            return number + 1
    return None


@pytest.mark.parametrize("kind", list(BAD))
def test_a_real_fault_is_seen_soon(kind):
    period = WatchPeriod(BOUNDS)
    # Only reports count for the error share: BAD["errors"] and FINE are reports.
    assert feed(period, [BAD[kind]] * 100) == ANSWERS_MIN
    (breach,) = period.breaches()
    assert breach.kind == kind
    assert f"{ANSWERS_MIN} of {ANSWERS_MIN}" in breach.text()


def test_a_late_fault_is_found_after_a_good_beginning():
    period = WatchPeriod(BOUNDS)
    assert feed(period, [FINE] * 5_000) is None
    after = feed(period, [BAD["defaults"]] * 10_000)
    assert after is not None
    assert after <= 150


def test_chance_causes_no_rollback():
    chance = random.Random(5)
    bad = Answer(is_miss=True, is_default=True, is_error=True, is_other=True)
    rates = 0
    for _ in range(20):
        period = WatchPeriod(Bounds(0.02, 0.02, 0.02, 0.02))
        answers = [bad if chance.random() < 0.02 else FINE for _ in range(2000)]
        rates += feed(period, answers) is not None
    assert rates <= 2


def test_a_period_without_answers_breaks_no_limit():
    assert WatchPeriod(BOUNDS).breaches() == []


@settings(max_examples=50)
@given(st.lists(st.sampled_from([FINE, *BAD.values()]), max_size=60))
def test_totals_are_of_all_answers(answers):
    period = WatchPeriod(BOUNDS)
    for answer in answers:
        period.add(answer)
    assert period.answers == len(answers)
    assert period.totals["defaults"] == sum(one.is_default for one in answers)
    assert len(period._blocks) <= 2
