from __future__ import annotations

import numpy as np
import pytest

from rdv.analysis.statistics import InvalidSample, rate_anomalies, rate_reference
from rdv.analysis.statistics.event_rate import rate_scores


def test_steady_rates_raise_no_alarm_and_bursts_do():
    chance = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        reference = rate_reference(chance.poisson(20, 60))
        alarms += bool(rate_anomalies(chance.poisson(20, 100), reference))
    assert alarms / 300 <= 0.03  # promised: 0.01; the tail of the normal is slightly too light
    counts = chance.poisson(20, 100)
    counts[[30, 70]] = 55, 1
    found = rate_anomalies(counts, rate_reference(chance.poisson(20, 60)))
    assert [a.window for a in found] == [30, 70]
    assert found[0].score > 5 > -4 > found[1].score
    assert found[0].expected == pytest.approx(20, abs=2)


def test_bursts_are_no_anomaly_of_a_bursty_rate():
    chance = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        counts = chance.negative_binomial(4, 0.1, 160)  # mean 36, variance 360
        reference = rate_reference(counts[:60])
        assert 4 < reference.dispersion < 30
        alarms += bool(rate_anomalies(counts[60:], reference))
    assert alarms / 200 <= 0.1
    steady = rate_reference(chance.poisson(36, 60))
    assert rate_anomalies(chance.negative_binomial(4, 0.1, 100), steady)


def test_what_is_expected_may_differ_by_window():
    hours = np.tile([1.0, 4.0, 2.0], 20)
    counts = (hours * 50).astype(int)
    reference = rate_reference(counts, hours)
    assert (reference.rate, reference.dispersion) == (pytest.approx(50), 1)
    assert np.abs(rate_scores(counts, reference, hours)).max() < 1e-6
    assert rate_anomalies(counts, reference)  # taken as equal windows, the counts are uneven


def test_a_reference_without_events():
    reference = rate_reference([0] * 50)
    assert rate_anomalies([0, 0], reference) == []
    assert [a.window for a in rate_anomalies([0, 9], reference)] == [1]
    for call in (
        lambda: rate_reference([1, 2]),
        lambda: rate_reference([1] * 5, [1] * 4),
        lambda: rate_reference([1] * 5, [0] * 5),
        lambda: rate_reference([-1] * 5),
        lambda: rate_scores([-1], reference),
    ):
        with pytest.raises(InvalidSample):
            call()
