"""Check the gate's path by agreement: its unit is the key, and it holds for the declared looks."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from test_gate import GOOD

from rdv.analysis.promote.gate import Quality, judge
from rdv.analysis.promote.study import agreement_of
from rdv.analysis.statistics import Interval
from rdv.decision import Gate

KEYS, EACH, LOOKS = 120, 25, 10


def compared(agrees, keys, scores=None):
    """Return what `agreement_of` reads of a comparison."""
    zeros = np.zeros(len(agrees))
    first, second = scores or (np.full(len(agrees), np.nan),) * 2
    pairs = SimpleNamespace(
        keys=keys, first_label=zeros, second_label=1.0 - agrees, first=first, second=second
    )
    ranks = Interval(0.9, 0.89, 0.91, 0.95, "x")
    return SimpleNamespace(
        pairs=pairs,
        classes=object() if scores is None else None,
        scores=None if scores is None else SimpleNamespace(correlation=ranks),
    )


def test_keys_that_agree_or_not_as_a_whole_pass_no_more_often_than_promised():
    """The true agreement is the limit, 0.9, by key; by request one look alone passes in 25 %."""
    chance, passed = np.random.default_rng(4), 0
    keys = np.repeat(np.arange(KEYS, dtype=np.uint64), EACH)
    for _ in range(120):
        agrees = np.repeat((chance.random(KEYS) < 0.9).astype(float), EACH)
        parts = (slice(0, KEYS * EACH * k // LOOKS) for k in range(4, LOOKS + 1))
        found = (agreement_of(compared(agrees[p], keys[p]), LOOKS) for p in parts)
        passed += any(one.low >= 0.9 for one in found)
    assert passed <= 9


def test_with_a_key_for_each_request_it_is_as_narrow_as_many_looks_allow():
    agrees = (np.random.default_rng(1).random(3000) < 0.97).astype(float)
    found = agreement_of(compared(agrees, np.arange(3000, dtype=np.uint64)), LOOKS)
    assert found.low > 0.955
    one = agreement_of(compared(agrees, np.arange(3000, dtype=np.uint64)), 1)
    assert found.low < one.low < one.estimate


@pytest.mark.parametrize("is_ranks", [False, True])
def test_few_keys_tell_nothing(is_ranks):
    keys = np.repeat(np.arange(3, dtype=np.uint64), 1000)
    numbers = np.arange(3000.0)
    scores = (numbers, numbers) if is_ranks else None
    found = agreement_of(compared(np.ones(3000), keys, scores), LOOKS)
    assert found.low <= 0.5
    assert found.high == 1.0


def test_ranks_have_as_many_observations_as_keys():
    numbers = np.random.default_rng(2).random(4000)
    widths = []
    for each in (1, 40):
        keys = np.arange(4000, dtype=np.uint64) // each
        found = agreement_of(compared(numbers, keys, (numbers, numbers)), LOOKS)
        assert found.low < 0.9 < found.high
        widths.append(found.high - found.low)
    assert widths[1] > 5 * widths[0]


def test_a_value_is_said_per_day():
    loss = Interval(-0.2, -0.3, -0.1, 0.95, "x")
    quality = Quality("value", "1 EUR", "1.2 EUR", loss, 0.1, is_share=False, per_day=1000.0,
                      unit="EUR")  # fmt: skip
    figures = dataclasses.replace(GOOD, quality=quality)
    text = next(one.text for one in judge(figures, Gate()).checks if one.name == "quality")
    assert "per day +200 EUR (+100 to +300), at the recorded 1,000 requests a day" in text
