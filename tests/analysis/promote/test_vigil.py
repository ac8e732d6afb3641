"""Check the watch period of a new champion."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.promote.watch import ANSWERS_MIN, Answer, Bounds, Vigil

BOUNDS = Bounds(misses=0.01, defaults=0.02, errors=0.005, others=0.05)
FINE = Answer(is_miss=False, is_default=False, is_error=False, is_other=False)
BAD = {
    "misses": Answer(is_miss=True, is_default=False, is_error=False, is_other=False),
    "defaults": Answer(is_miss=False, is_default=True, is_error=None, is_other=False),
    "errors": Answer(is_miss=False, is_default=False, is_error=True, is_other=False),
    "others": Answer(is_miss=False, is_default=False, is_error=None, is_other=True),
}


def feed(vigil, answers):
    """Return the number of answers until the first breach; None without one."""
    for number, answer in enumerate(answers):
        vigil.add(answer)
        if vigil.breaches():
            return number + 1
    return None


@pytest.mark.parametrize("kind", list(BAD))
def test_a_real_fault_is_seen_soon(kind):
    vigil = Vigil(BOUNDS)
    # Only reports count for the error share: BAD["errors"] and FINE are reports.
    assert feed(vigil, [BAD[kind]] * 100) == ANSWERS_MIN
    (breach,) = vigil.breaches()
    assert breach.kind == kind
    assert f"{ANSWERS_MIN} of {ANSWERS_MIN}" in breach.text()


def test_a_late_fault_is_not_hidden_by_a_good_past():
    vigil = Vigil(BOUNDS)
    assert feed(vigil, [FINE] * 5_000) is None
    after = feed(vigil, [BAD["defaults"]] * 10_000)
    assert after is not None
    assert after <= 150


def test_bad_luck_rolls_nothing_back():
    chance = random.Random(5)
    bad = Answer(is_miss=True, is_default=True, is_error=True, is_other=True)
    rates = 0
    for _ in range(20):
        vigil = Vigil(Bounds(0.02, 0.02, 0.02, 0.02))
        answers = [bad if chance.random() < 0.02 else FINE for _ in range(2000)]
        rates += feed(vigil, answers) is not None
    assert rates <= 2


def test_silence_is_no_fault():
    assert Vigil(BOUNDS).breaches() == []


@settings(max_examples=50)
@given(st.lists(st.sampled_from([FINE, *BAD.values()]), max_size=60))
def test_totals_are_of_all_answers(answers):
    vigil = Vigil(BOUNDS)
    for answer in answers:
        vigil.add(answer)
    assert vigil.answers == len(answers)
    assert vigil.totals["defaults"] == sum(one.is_default for one in answers)
    assert len(vigil._blocks) <= 2
