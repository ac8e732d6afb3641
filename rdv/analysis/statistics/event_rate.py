"""Find windows of time with more or fewer events than usual: requests, defaults, errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.distributions import normal_sf, student_sf
from rdv.analysis.statistics.sample import (
    FloatArray,
    IntArray,
    InvalidSample,
    as_sample,
    check_count,
    check_share,
)

REFERENCE_WINDOWS_MIN = 5
FALSE_ALARMS = 0.01
"""The probability of at least one false alarm among all the windows."""
WINDOWS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RateReference:
    """What was seen in a good state: `events` in `windows` windows with a total `exposure`.

    `dispersion` is the variance relative to the mean: 1 for independent (Poisson) events, more if
    they come in bursts or if the rate itself moves. It widens what counts as ordinary.
    """

    windows: int
    events: float
    exposure: float
    dispersion: float

    @property
    def rate(self) -> float:
        """Events expected in a window of exposure 1."""
        return self.events / self.exposure


@dataclass(frozen=True, slots=True)
class RateAnomaly:
    """`score` reads as standard deviations: positive for too many events, else too few."""

    window: int
    count: int
    expected: float
    score: float
    p_value: float


def rate_reference(counts: npt.ArrayLike, exposures: npt.ArrayLike | None = None) -> RateReference:
    """Learn the rate from counts of equal windows, or of windows that should differ.

    `exposures` says how much is expected of each (its length, or the usual load at that hour); 1
    for each if not given. Raises InvalidSample for fewer than 5 windows.
    """
    seen = as_sample("counts", counts, at_least=REFERENCE_WINDOWS_MIN)
    exposure = _exposures(exposures, len(seen))
    if bool(np.any(seen < 0)):
        raise InvalidSample("counts", "must not be negative")
    expected = exposure * (seen.sum() / exposure.sum())
    pearson = np.divide(
        (seen - expected) ** 2, expected, out=np.zeros_like(seen), where=expected > 0
    )
    dispersion = max(1.0, float(pearson.sum()) / (len(seen) - 1))
    return RateReference(len(seen), float(seen.sum()), float(exposure.sum()), dispersion)


def rate_scores(
    counts: npt.ArrayLike, reference: RateReference, exposures: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the signed root log-likelihood ratio of each window, in deviations.

    Dunning, *Accurate methods for the statistics of surprise and coincidence*, Computational
    Linguistics 19 (1993), for the ratio; divided by the root of the dispersion as in quasi-Poisson
    regression (McCullagh & Nelder, *Generalized Linear Models*, 6.2). Raises InvalidSample.
    """
    seen = as_sample("counts", counts, at_least=0)
    exposure = _exposures(exposures, len(seen))
    if bool(np.any(seen < 0)):
        raise InvalidSample("counts", "must not be negative")
    root = _root_llr(seen, exposure, reference.events, reference.exposure)
    scores: FloatArray = root / np.sqrt(reference.dispersion)
    return scores


def _root_llr(here: FloatArray, time_here: FloatArray, count: float, exposure: float) -> FloatArray:
    """Return how surprising each count in its exposure is relative to a reference's `count`.

    Both are assumed to be Poisson; that the reference's rate is itself an estimate is accounted
    for. Positive: more events than expected.
    """
    rate = (here + count) / (time_here + exposure)
    g2 = 2 * (_k_log(here, rate * time_here) + _k_log(np.full_like(here, count), rate * exposure))
    sign = np.sign(here / time_here - count / exposure)
    return sign * np.sqrt(np.maximum(g2, 0))


def _k_log(counts: FloatArray, expected: FloatArray) -> FloatArray:
    """Return counts × log(counts / expected), 0 for empty counts."""
    filled = counts > 0
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=filled)
    return counts * np.log(ratio)


def rate_anomalies(
    counts: npt.ArrayLike,
    reference: RateReference,
    exposures: npt.ArrayLike | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
) -> list[RateAnomaly]:
    """Return the windows with too many or too few events; `false_alarms` is for all together."""
    check_share("false_alarms", false_alarms)
    scores = rate_scores(counts, reference, exposures)
    seen, exposure = as_sample("counts", counts, at_least=0), _exposures(exposures, len(scores))
    found = []
    for window, score in enumerate(scores.tolist()):
        p_value = _p_value(score, reference)
        if p_value * len(scores) < false_alarms:
            expected = float(exposure[window]) * reference.rate
            found.append(RateAnomaly(window, int(seen[window]), expected, score, p_value))
    return found


def _p_value(score: float, reference: RateReference) -> float:
    """Return the two-sided p-value; by Student if the dispersion was learned from few windows."""
    if reference.dispersion > 1:
        return 2 * student_sf(abs(score), reference.windows - 1)
    return 2 * normal_sf(abs(score))


def _exposures(given: npt.ArrayLike | None, count: int) -> FloatArray:
    if given is None:
        return np.ones(count)
    exposure = as_sample("exposures", given, at_least=0)
    if len(exposure) != count or bool(np.any(exposure <= 0)):
        raise InvalidSample("exposures", f"must be {count} numbers above 0")
    check_count("exposures", float(exposure.sum()))
    return exposure


@dataclass(frozen=True, slots=True)
class Window:
    """`rows` of the given times are in [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    rows: slice

    @property
    def count(self) -> int:
        return int(self.rows.stop - self.rows.start)


def windows(
    time_ns: npt.ArrayLike, width_ns: int, *, start_ns: int | None = None, end_ns: int | None = None
) -> list[Window]:
    """Return windows over rising times, empty ones included; aligned to whole widths since 1970.

    Times before `start_ns` or not before `end_ns` are left out. Raises InvalidSample if the times
    do not rise or if there would be more than 10,000 windows.
    """
    times = _rising(time_ns)
    if width_ns < 1:
        raise InvalidSample("width", f"{width_ns} ns is not a width")
    if start_ns is None:
        start_ns = int(times[0]) if len(times) else 0
    if end_ns is None:
        end_ns = int(times[-1]) + 1 if len(times) else start_ns
    first, last = start_ns // width_ns, -(-end_ns // width_ns)
    if last - first > WINDOWS_MAX:
        raise InvalidSample(
            "width", f"makes {last - first} windows; at most {WINDOWS_MAX}, take a wider one"
        )
    edges = [min(max(n * width_ns, start_ns), end_ns) for n in range(first, max(first, last) + 1)]
    places = np.searchsorted(times, np.array(edges, dtype=np.int64), side="left").tolist()
    return [
        Window(edges[n], edges[n + 1], slice(places[n], places[n + 1]))
        for n in range(len(edges) - 1)
    ]


def _rising(time_ns: npt.ArrayLike) -> IntArray:
    times = np.asarray(time_ns)
    if times.ndim != 1 or (len(times) and not np.issubdtype(times.dtype, np.integer)):
        raise InvalidSample("time_ns", "must be a flat array of integers (nanoseconds)")
    times = times.astype(np.int64, copy=False)
    if bool(np.any(times[1:] < times[:-1])):
        raise InvalidSample("time_ns", "must not fall; sort the rows by time first")
    return times
