"""Compute the effect of a treatment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.ab.arm import Arm, Units
from rdv.evaluation.statistics.ab.sequence import TIGHTEST_AT, always_valid_p, mean_sequence
from rdv.evaluation.statistics.distributions import normal_sf, two_sided_z
from rdv.evaluation.statistics.interval import Interval
from rdv.evaluation.statistics.sample import as_pair, check_share
from rdv.evaluation.statistics.sample_size import sample_size

UNITS_MIN = 100
"""The minimum number of units in each arm for a finding: the sequence is valid for large counts
only.
"""
RARE_MIN = 20
"""The minimum number of the rarer outcome in each arm, if outcomes are 0 or 1; for the same
reason.
"""

Finding = Literal["too early", "undecided", "better", "worse"]


@dataclass(frozen=True, slots=True)
class Effect:
    """`difference` (treatment minus control) is valid at any time; `once` for one look only.

    `once` is the ordinary interval, for an experiment whose end was fixed before it began.
    `finding` goes by `difference`: "better" means a higher mean outcome, whether or not that is
    good. `unpaired_needed` is for each arm, `pairs_needed` in total, for an effect of this size
    with power 0.8, counted in units; the latter only if there are pairs.
    """

    control: str
    treatment: str
    units: tuple[int, int]
    difference: Interval
    once: Interval
    p_value: float
    p_value_once: float
    finding: Finding
    unpaired_needed: float
    pairs_needed: float | None = None


def effect(
    control: Arm, treatment: Arm, confidence: float = 0.95, *, tightest_at: int = TIGHTEST_AT
) -> Effect:
    """Return the difference of two cohorts' means. Raises InvalidSample.

    Units must come to both arms mixed, in about constant shares. Before 100 units in an arm (20 of
    the rarer outcome, of 0/1 outcomes) `difference` is unbounded, as it would not be valid. Fix
    `tightest_at` (units in both arms) before looking.
    """
    units = control.count + treatment.count
    difference = treatment.mean - control.mean
    squared_error = control.variance / control.count + treatment.variance / treatment.count
    is_early = any(
        arm.count < UNITS_MIN or (arm.rare is not None and arm.rare < RARE_MIN)
        for arm in (control, treatment)
    )
    return _effect(
        (control.name, treatment.name),
        (control.count, treatment.count),
        (difference, squared_error * units, units),
        confidence,
        tightest_at,
        is_early=is_early,
        unpaired_needed=sample_size(control.variance + treatment.variance, difference),
    )


def paired_effect(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    keys: npt.ArrayLike | None = None,
    names: tuple[str, str] = ("control", "treatment"),
    tightest_at: int = TIGHTEST_AT,
) -> Effect:
    """Answer the same question by all requests: each model's score, compared with the truth.

    Takes one value of each model for each request (right or not, a loss, a gain), and the requests'
    keys if they come back. Valid if the truth does not depend on the answer given: fraud, digits,
    demand; *not* clicks on what was shown. Raises InvalidSample.
    """
    a, b = as_pair(
        np.asarray(control, dtype=np.float64), np.asarray(treatment, dtype=np.float64), at_least=2
    )
    return effect_of_pairs(
        Units.of("difference", b - a, keys).arm(),
        (Units.of(names[0], a, keys).arm(), Units.of(names[1], b, keys).arm()),
        differing=_units_that(b != a, keys),
        confidence=confidence,
        tightest_at=tightest_at,
    )


def effect_of_pairs(
    pairs: Arm,
    arms: tuple[Arm, Arm],
    *,
    differing: int,
    confidence: float = 0.95,
    tightest_at: int = TIGHTEST_AT,
) -> Effect:
    """Return what `paired_effect` does, from sums.

    They are the arm of differences (treatment minus control), both arms alone, and the number of
    units in which they differ at all.
    """
    found = _effect(
        (arms[0].name, arms[1].name),
        (pairs.count, pairs.count),
        (pairs.mean, pairs.variance, pairs.count),
        confidence,
        tightest_at,
        is_early=pairs.count < UNITS_MIN or differing < RARE_MIN,
        unpaired_needed=sample_size(arms[0].variance + arms[1].variance, pairs.mean),
    )
    return replace(found, pairs_needed=sample_size(pairs.variance, pairs.mean))


def _effect(
    names: tuple[str, str],
    units: tuple[int, int],
    moments: tuple[float, float, int],
    confidence: float,
    tightest_at: int,
    *,
    is_early: bool,
    unpaired_needed: float,
) -> Effect:
    check_share("confidence", confidence)
    mean, variance, count = moments
    sequence = mean_sequence(mean, variance, count, confidence, tightest_at=tightest_at)
    p_value = always_valid_p(mean, variance, count, confidence=confidence, tightest_at=tightest_at)
    if is_early:
        sequence, p_value = replace(sequence, low=-math.inf, high=math.inf), 1.0
    error = math.sqrt(variance / count)
    half = two_sided_z(confidence) * error
    once = Interval(mean, mean - half, mean + half, confidence, "normal, for one look")
    p_once = 2 * normal_sf(abs(mean) / error) if error > 0 else float(mean == 0)
    finding = _finding(sequence, is_early=is_early)
    return Effect(*names, units, sequence, once, p_value, p_once, finding, unpaired_needed)


def _units_that(holds: npt.NDArray[np.bool_], keys: npt.ArrayLike | None) -> int:
    """Return in how many units it holds at least once."""
    return int(holds.sum()) if keys is None else len(np.unique(np.asarray(keys)[holds]))


def _finding(interval: Interval, *, is_early: bool) -> Finding:
    if is_early:
        return "too early"
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "undecided"
