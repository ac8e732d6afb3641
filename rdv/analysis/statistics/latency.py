"""Compute how long answers took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.digest import Digest
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.proportion import wilson
from rdv.analysis.statistics.quantile import interval_ranks, quantile_intervals
from rdv.analysis.statistics.sample import FloatArray, InvalidSample, as_sample

LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Percentile:
    """The latency that the share `level` of the answers did not exceed."""

    level: float
    latency_ms: Interval

    @property
    def name(self) -> str:
        """The name of the percentile: p50, p99, p99.9."""
        return f"p{100 * self.level:.6g}"


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of latencies. `late` is the share above `limit_ms`, if a limit was given.

    Intervals assume independent requests. Latencies of successive requests are not independent (a
    stall delays many): read them as the minimum uncertainty.
    """

    count: int
    mean_ms: float
    max_ms: float
    percentiles: tuple[Percentile, ...]
    limit_ms: float | None = None
    late: Interval | None = None


def latency(
    values_ms: npt.ArrayLike | Digest,
    *,
    limit_ms: float | None = None,
    levels: Sequence[float] = LEVELS,
    confidence: float = 0.95,
) -> Latency:
    """Compute latencies: exactly, or within a digest's error. Raises InvalidSample if empty."""
    if isinstance(values_ms, Digest):
        return _of_digest(values_ms, limit_ms, levels, confidence)
    sample = as_sample("latencies", values_ms)
    late = None
    if limit_ms is not None:
        late = wilson(int(np.count_nonzero(sample > limit_ms)), len(sample), confidence)
    found = quantile_intervals(sample, levels, confidence)
    return Latency(
        len(sample),
        float(sample.mean()),
        float(sample.max()),
        tuple(Percentile(level, one) for level, one in zip(levels, found, strict=True)),
        limit_ms,
        late,
    )


def curve(values_ms: npt.ArrayLike | Digest, points: int = 400) -> tuple[FloatArray, FloatArray]:
    """Return latencies and the share of answers within each, for a chart; denser in the tail."""
    if points < 2:  # noqa: PLR2004 - a line has two ends
        raise InvalidSample("points", f"{points} is too few for a curve")
    beyond = np.logspace(0, -4, points)
    levels = np.unique(np.clip(np.r_[0.0, np.linspace(0, 1, points), 1 - beyond], 0, 1))
    if isinstance(values_ms, Digest):
        return values_ms.quantiles(levels), levels
    sample = as_sample("latencies", values_ms)
    return np.quantile(sample, levels), levels


def _of_digest(
    digest: Digest, limit_ms: float | None, levels: Sequence[float], confidence: float
) -> Latency:
    late = None
    if limit_ms is not None:
        values, shares = digest.curve()
        within = float(np.interp(limit_ms, values, shares, left=0.0, right=1.0))
        late = wilson(round((1 - within) * digest.count), digest.count, confidence)
    return Latency(
        digest.count,
        digest.mean,
        digest.high,
        tuple(Percentile(level, _digest_interval(digest, level, confidence)) for level in levels),
        limit_ms,
        late,
    )


def _digest_interval(digest: Digest, level: float, confidence: float) -> Interval:
    low, high = interval_ranks(digest.count, level, confidence)
    shares = [level, max(low - 0.5, 0) / digest.count, min(high - 0.5, digest.count) / digest.count]
    estimate, bottom, top = digest.quantiles(np.clip(shares, 0, 1))
    return Interval(
        float(estimate),
        float(bottom) if low >= 1 else -np.inf,
        float(top) if high <= digest.count else np.inf,
        confidence,
        "order statistics of a t-digest",
    )
