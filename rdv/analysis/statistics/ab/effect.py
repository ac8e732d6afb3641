"""The effect of a treatment: the difference of two arms.

Intervals are confidence sequences (see `sequence`); clustered outcomes by the delta method (Deng,
Knoblich & Lu, KDD 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.ab.sequence import TIGHTEST_AT, always_valid_p, mean_sequence
from rdv.analysis.statistics.distributions import normal_sf, two_sided_z
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.proportion import sample_size
from rdv.analysis.statistics.sample import (
    FloatArray,
    InvalidSample,
    as_sample,
    check_share,
    same_length,
)

UNITS_MIN = 100
"""The minimum number of units in each arm: the sequence is valid for large counts only."""
RARE_MIN = 20
"""The minimum number of the rarer of 0/1 outcomes in each arm, for the same reason."""
Finding = Literal["too early", "undecided", "better", "worse"]


@dataclass(frozen=True, slots=True)
class Arm:
    """`count` independent units, their mean outcome, and the variance of one unit's outcome.

    A unit is what the split is made of. Cohorts are of *keys*, and requests of one key are alike:
    give the keys if they come back, or the intervals are too narrow. `rare` is, if all outcomes are
    0 or 1, how many units have had the rarer one.
    """

    name: str
    count: int
    mean: float
    variance: float
    rare: int | None = None

    @classmethod
    def of(cls, name: str, outcomes: npt.ArrayLike, keys: npt.ArrayLike | None = None) -> Arm:
        """Return an arm of each request's outcome (0 or 1, or any number) and key.

        Without keys every request is a unit of its own. Raises InvalidSample.
        """
        return Units.of(name, outcomes, keys).arm()

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance / self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The mean over requests, and how much each unit pulls it (0 on average).

    The mean over requests of clustered outcomes is a ratio of sums over keys; linearised, its error
    is the mean of `pulls`. That is the delta method: Deng, Knoblich & Lu, *Applying the Delta
    Method in Metric Analytics*, KDD 2018.
    """

    name: str
    mean: float
    pulls: FloatArray
    rare: int | None

    @classmethod
    def of(cls, name: str, outcomes: npt.ArrayLike, keys: npt.ArrayLike | None = None) -> Units:
        """Return units by outcome and key. Raises InvalidSample for fewer than two units."""
        sample = as_sample(name, _numbers(outcomes), at_least=2)
        mean = float(sample.mean())
        if keys is None:
            return cls(name, mean, sample - mean, _rare(sample, sample, np.ones(len(sample))))
        labels: npt.NDArray[Any] = np.asarray(keys)
        same_length(sample, labels)
        _, place = np.unique(labels, return_inverse=True)
        totals: FloatArray = np.bincount(place, weights=sample).astype(np.float64)
        requests = np.bincount(place).astype(np.float64)
        if len(totals) < 2:  # noqa: PLR2004 - a variance needs two
            raise InvalidSample(name, "has outcomes of one key only, needs at least 2")
        pulls: FloatArray = (totals - mean * requests) / requests.mean()
        return cls(name, mean, pulls, _rare(sample, totals, requests))

    def arm(self) -> Arm:
        return Arm(self.name, len(self.pulls), self.mean, float(self.pulls.var(ddof=1)), self.rare)


def _rare(sample: FloatArray, totals: FloatArray, requests: FloatArray) -> int | None:
    if not bool(np.all((sample == 0) | (sample == 1))):
        return None
    return min(int(np.sum(totals > 0)), int(np.sum(totals < requests)))


def _numbers(outcomes: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(outcomes)
    return array.astype(np.float64) if array.dtype == np.bool_ else array


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
    why_early: str = ""
    """What is missing for a finding; only if that is "too early", and not always then."""


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


def effect_of_pairs(
    pairs: Arm,
    arms: tuple[Arm, Arm],
    *,
    differing: int,
    confidence: float = 0.95,
    tightest_at: int = TIGHTEST_AT,
) -> Effect:
    """Compare what both answer to all requests, from sums of each model's value by key.

    Valid if the truth does not depend on the answer given: fraud, digits, demand; *not* clicks on
    what was shown.

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


def with_sequence(
    found: Effect, sequence: Interval | str, *, units: int, tightest_at: int = TIGHTEST_AT
) -> Effect:
    """Return the effect by another sequence, or that it is too early, and why.

    For a sequence that holds where the plain one does not: for skewed values, and small cohorts.
    The p-value is that of a plain sequence which reaches as far towards 0, for as many `units`.
    """
    mean, confidence = found.difference.estimate, found.difference.confidence
    if isinstance(sequence, str):
        open_ended = replace(found.difference, low=-math.inf, high=math.inf)
        return replace(
            found, difference=open_ended, p_value=1.0, finding="too early", why_early=sequence
        )
    half = mean - sequence.low if mean > 0 else sequence.high - mean
    one = mean_sequence(0.0, 1.0, units, confidence, tightest_at=tightest_at).high
    p_value = always_valid_p(
        mean, (half / one) ** 2, units, confidence=confidence, tightest_at=tightest_at
    )
    finding = _finding(sequence, is_early=False)
    return replace(found, difference=sequence, p_value=p_value, finding=finding, why_early="")


def _finding(interval: Interval, *, is_early: bool) -> Finding:
    if is_early:
        return "too early"
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "undecided"
