from __future__ import annotations

from itertools import islice

import pytest

from rdv.load.generator import InvalidLoad, LoadLimits, constant, poisson


def test_constant_does_not_drift():
    times = list(islice(constant(3), 3001))
    assert (times[0], times[3], times[3000]) == (0, 10**9, 1000 * 10**9)


def test_poisson_has_the_rate_and_is_repeatable():
    times = list(islice(poisson(1000, seed=1), 20_001))
    assert times == list(islice(poisson(1000, seed=1), 20_001))
    assert times != list(islice(poisson(1000, seed=2), 20_001))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(20 * 10**9, rel=0.03)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 1e9])
def test_bad_rates_are_refused_at_once(rate):
    with pytest.raises(InvalidLoad, match="rate"):
        constant(rate)
    with pytest.raises(InvalidLoad, match="rate"):
        poisson(rate, 1)
    with pytest.raises(InvalidLoad, match="queue_max"):
        LoadLimits(queue_max=0)
