"""Check the watch period of a new champion."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.promote.watch import ANSWERS_MIN, Answer, Bounds, Fact, WatchPeriod
from rdv.analysis.promote.window import BLOCK, Window, independent

BOUNDS = Bounds(misses=0.01, defaults=0.02, errors=0.005, others=0.05)
FINE = Answer(is_miss=False, is_default=False, is_error=False, is_other=False)
BAD = {
    "misses": Answer(is_miss=True, is_default=False, is_error=False, is_other=False),
    "defaults": Answer(is_miss=False, is_default=True, is_error=None, is_other=False),
    "errors": Answer(is_miss=False, is_default=False, is_error=True, is_other=False),
    "others": Answer(is_miss=False, is_default=False, is_error=None, is_other=True),
}


def feed(period, answers, every=1):
    """Return the number of answers until the first breach; None without one.

    The limits are looked at after each answer, or after `every` so many.
    """
    for number, answer in enumerate(answers, 1):
        period.add(answer)
        if number % every == 0 and period.breaches():
            return number
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
        rates += feed(period, answers, every=20) is not None
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


@pytest.mark.parametrize("fine", [0, 20, 980])
@pytest.mark.parametrize("count", [10, 100, 500])
@pytest.mark.parametrize("kind", list(BAD))
def test_a_burst_of_one_key_breaks_no_limit(kind, count, fine):
    period = WatchPeriod(BOUNDS)
    answers = [replace(FINE, unit=n) for n in range(fine)]
    answers += [replace(BAD[kind], unit="one")] * count
    assert feed(period, answers, every=10) is None
    assert period.breaches() == []


@pytest.mark.parametrize("fine", [20, 480])
@pytest.mark.parametrize("kind", list(BAD))
def test_as_many_of_many_keys_do(kind, fine):
    period = WatchPeriod(BOUNDS)
    answers = [replace(FINE, unit=n) for n in range(fine)]
    answers += [replace(BAD[kind], unit=-n) for n in range(1, 101)]
    assert feed(period, answers) is not None
    (breach,) = period.breaches()
    assert breach.keys == breach.count


def test_facts_about_scores_and_outcomes_are_by_key_too():
    bounds = replace(BOUNDS, disagreements=0.1, low_scores=0.2, worse=0.6)
    facts = {"pairs": "disagreements", "scored": "low_scores", "differing": "worse"}
    for of, kind in facts.items():
        for is_burst in (True, False):
            period = WatchPeriod(bounds)
            kinds = dict.fromkeys(("middle_scores", "high_scores"), False) | {kind: True}
            for n in range(60):
                period.note(Fact(of, {**dict.fromkeys(kinds, False)}, unit=-n - 1))
            for n in range(300):
                period.note(Fact(of, kinds, unit="one" if is_burst else n))
            assert bool(period.breaches()) is not is_burst, of


def test_a_fault_for_every_key_is_seen_soon_though_keys_have_many_requests():
    period = WatchPeriod(BOUNDS)
    chance = random.Random(2)
    assert feed(period, [replace(FINE, unit=chance.randrange(100)) for _ in range(1500)]) is None
    bad = [replace(BAD["errors"], unit=chance.randrange(100)) for _ in range(500)]
    after = feed(period, bad)
    assert after is not None
    assert after <= 250


def unequal(chance, count=100):
    """Return the shares of the requests of unequal keys: the largest has about a tenth."""
    sizes = chance.lognormal(0, 1.2, count)
    return sizes / sizes.sum()


def false_alarms(runs, rate, alike, keys=100):
    """Return the share of runs of a champion that is as bad as its limit allows, and not worse.

    `alike` is the correlation of a key's requests: whether one is bad depends on the key.
    """
    broken = 0
    for seed in range(runs):
        chance = np.random.default_rng(seed)
        spread = (1 - alike) / alike
        rates = chance.beta(rate * spread, (1 - rate) * spread, keys)
        units = chance.choice(keys, 3000, p=unequal(chance, keys))
        bad = chance.random(3000) < rates[units]
        period = WatchPeriod(Bounds(misses=1.0, defaults=rate, errors=1.0, others=1.0))
        for n, (unit, is_bad) in enumerate(zip(units.tolist(), bad.tolist(), strict=True)):
            period.add(replace(BAD["defaults"] if is_bad else FINE, unit=unit))
            if n % 20 == 0 and period.breaches():
                broken += 1
                break
    return broken / runs


@pytest.mark.parametrize(("rate", "alike"), [(0.02, 0.3), (0.2, 0.3)])
def test_a_hundred_unequal_keys_cause_no_rollback(rate, alike):
    assert false_alarms(20, rate, alike) <= 0.1


@pytest.mark.soak
@pytest.mark.parametrize("keys", [30, 100, 1000])
@pytest.mark.parametrize("alike", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("rate", [0.005, 0.02, 0.2, 0.6])
def test_unequal_keys_cause_no_rollback_long(rate, alike, keys):
    assert false_alarms(200, rate, alike, keys) <= 0.05


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50)), min_size=2, max_size=40))
def test_requests_that_are_alike_never_count_for_more_than_there_are(rows):
    sizes = np.array([size for _, size in rows], np.float64)
    counts = np.minimum(np.array([count for count, _ in rows], np.float64), sizes)
    count, of = independent(counts, sizes)
    assert 1 - 1e-9 <= of <= sizes.sum() + 1e-9
    assert count / of == pytest.approx(counts.sum() / sizes.sum())


def test_what_a_window_keeps_is_bounded():
    window = Window(["bad"])
    for n in range(5 * BLOCK):
        window.add(n, {"bad": n % 2 == 0})
    assert window.keys <= 2 * BLOCK
    assert window.requests <= 2 * BLOCK
    counts, sizes = window.by_key("bad")
    assert counts.sum() == window.count("bad")
    assert sizes.sum() == window.requests


def test_too_few_keys_to_judge_are_said():
    period = WatchPeriod(BOUNDS)
    assert period.few_keys is None
    feed(period, [replace(FINE, unit="one")] * 50)
    assert period.few_keys == 1
    feed(period, [FINE] * 3)
    assert period.few_keys is None
