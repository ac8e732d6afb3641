"""Drift window by window: have scores moved from a reference, by the input or by the model?

The canary is a model that never changes and sees every request. If its scores move, the input has
changed; if a model's scores move and the canary's do not, the model has (Dunning & Friedman,
*Machine Learning Logistics*, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.drift.distances import (
    BINS,
    ERROR_RATE,
    Bins,
    KolmogorovSmirnov,
    Psi,
    QuantileShift,
    psi,
    quantile_shifts,
)
from rdv.analysis.statistics.drift.weighted import Sample, Tail, distance, tail
from rdv.analysis.statistics.event_rate import Window, windows
from rdv.analysis.statistics.sample import FloatArray, InvalidSample, as_sample

COUNT_MIN = 100
"""The minimum number of keys with a value in a window for a finding."""
HOUR_NS = 3600 * 10**9
DAY_NS, WEEK_NS = 24 * HOUR_NS, 7 * 24 * HOUR_NS
PSI_MOVED = 0.1
"""The index from which scores have moved: the usual convention (0.1 moderate, 0.25 large)."""
PSI_STIRRED = 0.05
"""The index from which scores count as moving along, if another model has moved."""
KS_MOVED = 0.1
"""The same as a distance of distributions: a tenth of the requests on the other side."""
KS_STIRRED = 0.05
TAIL_MOVED = 0.02
"""The same as a share of values that lie where hardly any lay: a new cluster."""
TAIL_STIRRED = 0.01
PSI_LARGE = 0.25
DECISIVE_TIMES = 3
"""How many times what chance explains an index must be, for one window to be enough."""
DECISIVE_P = 1e-9
_MIX = np.uint64(0x9E3779B97F4A7C15)

State = Literal["too few", "still", "stirred", "moved"]
Cause = Literal["too few", "steady", "input changed", "model changed", "canary changed"]
_SENTENCES: dict[Cause, str] = {
    "too few": "Too few scores for a verdict.",
    "steady": "Neither model nor canary has moved.",
    "input changed": "The input changed: canary and model have moved together.",
    "model changed": "The model changed: it has moved and the canary has not.",
    "canary changed": (
        "Only the canary has moved: it is not the same canary, or the input changed in something "
        "that the model does not look at."
    ),
}


@dataclass(frozen=True, slots=True)
class Movement:
    """One window of one model against its reference.

    Each index must be large enough to matter *and* beyond chance (an error rate of 0.001 for each):
    with a million requests everything is significant, with fifty anything is large.
    """

    count: int
    state: State
    psi: Psi
    ks: KolmogorovSmirnov
    shifts: tuple[QuantileShift, ...]
    tail: Tail
    effective: float
    """How many independent values the window is worth: about the number of its keys."""

    @property
    def is_decisive(self) -> bool:
        """Whether this window alone is enough: chance does not make it in any number of windows."""
        index = self.psi
        return self.state == "moved" and (
            (index.value >= PSI_LARGE and index.value > DECISIVE_TIMES * index.by_chance)
            or (self.ks.distance >= KS_MOVED and self.ks.p_value < DECISIVE_P)
            or (self.tail.excess >= TAIL_MOVED and self.tail.p_value < DECISIVE_P)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One model's scores in a good state, prepared for many comparisons."""

    sample: Sample
    bins: Bins

    @classmethod
    def of(cls, scores: npt.ArrayLike, bins: int = BINS) -> Reference:
        """Make a reference from the scores of its window. Raises InvalidSample below 100."""
        values = as_sample("reference", scores, at_least=COUNT_MIN)
        return cls(Sample.of(values), Bins.of(values, bins))

    def movement(self, scores: npt.ArrayLike) -> Movement | None:
        """Return how far the scores of another window have moved; None for an empty window."""
        return self.movement_of(Sample.of(as_sample("window", scores, at_least=0)))

    def movement_of(self, window: Sample) -> Movement | None:
        """Return what `movement` does, for a sample with weights."""
        if not len(window):
            return None
        index = psi(_counts(self.bins, self.sample), _counts(self.bins, window))
        apart = distance(self.sample, window)
        beyond = tail(self.sample, window)
        worth = min(self.sample.effective, window.effective)
        return Movement(
            len(window),
            _state(worth, index, apart, beyond),
            index,
            apart,
            quantile_shifts(self.sample.values, window.values),
            beyond,
            window.effective,
        )


def _counts(bins: Bins, sample: Sample) -> FloatArray:
    """Return how many independent values each bin is worth."""
    places = np.searchsorted(bins.edges, sample.values, side="right")
    held = np.bincount(places, sample.weights, len(bins.edges) + 1)
    found: FloatArray = np.asarray(held * sample.effective, np.float64)
    return found


def _state(worth: float, index: Psi, apart: KolmogorovSmirnov, beyond: Tail) -> State:
    if round(worth) < COUNT_MIN:
        return "too few"
    by_psi = index.value if index.significant else 0.0
    by_ks = apart.distance if apart.p_value < ERROR_RATE else 0.0
    by_tail = beyond.excess if beyond.p_value < ERROR_RATE else 0.0
    if by_psi >= PSI_MOVED or by_ks >= KS_MOVED or by_tail >= TAIL_MOVED:
        return "moved"
    is_stirred = by_psi >= PSI_STIRRED or by_ks >= KS_STIRRED or by_tail >= TAIL_STIRRED
    return "stirred" if is_stirred else "still"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` is for programs, `sentence` for people."""

    cause: Cause
    sentence: str


def judge(model: Movement | None, canary: Movement | None) -> Verdict:
    """Judge the movements of both in the same window, against the same reference window.

    They moved together if at least one has moved and the other is at least "stirred". A canary
    cannot see features that it does not use: "model changed" is where to look first, not a proof.
    """
    cause = _cause(model, canary)
    if cause == "too few" or model is None or canary is None:
        return Verdict(cause, _SENTENCES[cause])
    figures = f" PSI: model {model.psi.value:.2f}, canary {canary.psi.value:.2f}."
    return Verdict(cause, _SENTENCES[cause] + figures)


def _cause(model: Movement | None, canary: Movement | None) -> Cause:
    if model is None or canary is None or "too few" in (model.state, canary.state):
        return "too few"
    if "moved" not in (model.state, canary.state):
        return "steady"
    if canary.state == "still":
        return "model changed"
    return "canary changed" if model.state == "still" else "input changed"


@dataclass(frozen=True, slots=True)
class DriftWindow:
    """The findings for a window in [start_ns, end_ns); without scores a movement is None."""

    start_ns: int
    end_ns: int
    model: Movement | None
    canary: Movement | None
    verdict: Verdict


class Before(Protocol):
    """Rows from before the windows, in place of a reference among them.

    Values at times, of which key, and how many keys each value stands for.
    """

    @property
    def times_ns(self) -> npt.NDArray[np.int64]: ...
    @property
    def values(self) -> FloatArray: ...
    @property
    def keys(self) -> npt.NDArray[np.uint64]: ...
    @property
    def weights(self) -> FloatArray: ...


def drift_over_time(
    time_ns: npt.ArrayLike,
    model: npt.ArrayLike,
    canary: npt.ArrayLike,
    *,
    reference_ns: tuple[int, int],
    width_ns: int,
    keys: npt.NDArray[np.uint64] | None = None,
    period_ns: int | None = None,
    before: tuple[Before, Before] | None = None,
) -> list[DriftWindow]:
    """Compare each window of `width_ns` with the reference window [start, end) of the same rows.

    A row is one request, in order of time; NaN where that model has not scored it. Requests of one
    of `keys` share the weight of one, in each hour. With `period_ns` (a day or a week, no longer
    than the reference) a window is compared with the same hours of the reference's periods. The
    rows of the reference are judged too, as a check: they should be steady. `before` are rows of
    the model and of the canary that take the place of the reference. Raises InvalidSample.
    """
    times = np.asarray(time_ns)
    scores = [
        _scores(name, values, times) for name, values in (("model", model), ("canary", canary))
    ]
    units = np.arange(len(times), dtype=np.uint64) if keys is None else keys
    references = (None, None) if before is None else before
    columns = [
        _Column(times, one, units, period_ns, reference_ns, earlier)
        for one, earlier in zip(scores, references, strict=True)
    ]
    found = []
    for window in windows(times, width_ns):
        moves = [column.movement(window) for column in columns]
        verdict = judge(moves[0], moves[1])
        found.append(DriftWindow(window.start_ns, window.end_ns, moves[0], moves[1], verdict))
    return found


def moves_over_time(
    time_ns: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    reference_ns: tuple[int, int],
    width_ns: int,
    keys: npt.NDArray[np.uint64] | None = None,
    period_ns: int | None = None,
    before: Before | None = None,
) -> list[tuple[int, Movement | None]]:
    """Return the start and the movement of each window of one column; see `drift_over_time`."""
    times = np.asarray(time_ns)
    units = np.arange(len(times), dtype=np.uint64) if keys is None else keys
    scores = _scores("values", values, times)
    column = _Column(times, scores, units, period_ns, reference_ns, before)
    return [(window.start_ns, column.movement(window)) for window in windows(times, width_ns)]


class _Column:
    """One model's scores, to be compared window by window with those of the reference."""

    def __init__(
        self,
        times: npt.NDArray[np.int64],
        scores: FloatArray,
        keys: npt.NDArray[np.uint64],
        period_ns: int | None,
        reference_ns: tuple[int, int],
        before: Before | None = None,
    ) -> None:
        self._times, self._scores, self._keys = times, scores, keys
        self._period_ns = period_ns
        if before is None:
            bounds = np.searchsorted(times, np.array(reference_ns, np.int64), "left")
            self._reference = self._part(slice(*bounds.tolist()))
        else:
            slots = self._slots(before.times_ns // HOUR_NS)
            self._reference = _Part(before.values, before.keys, slots, before.weights)
        values = as_sample("reference", self._reference.values, at_least=COUNT_MIN)
        self._bins = Bins.of(values)

    def _slots(self, hours: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return which hour of the period each is; 0 without a period."""
        return hours % (self._period_ns // HOUR_NS) if self._period_ns else np.zeros_like(hours)

    def _part(self, rows: slice) -> _Part:
        """Return the scores of some rows; those of one key in one hour share the weight of one."""
        finite = np.isfinite(self._scores[rows])
        times, keys = self._times[rows][finite], self._keys[rows][finite]
        hours = times // HOUR_NS if self._period_ns else np.zeros(len(times), np.int64)
        units = keys ^ (hours.astype(np.uint64) * _MIX)
        _, place, counts = np.unique(units, return_inverse=True, return_counts=True)
        weights = 1 / counts[place]
        return _Part(self._scores[rows][finite], keys, self._slots(hours), weights)

    def movement(self, window: Window) -> Movement | None:
        """Return how far the scores of a window have moved from the same hours before."""
        part, reference = self._part(window.rows), self._reference
        count = 1 + max(int(one.slots.max()) for one in (part, reference) if len(one.slots))
        now, before = (np.bincount(one.slots, one.weights, count) for one in (part, reference))
        known = before[part.slots] > 0
        ratio = np.divide(now, before, out=np.zeros(count), where=before > 0)
        weights = reference.weights * ratio[reference.slots]
        used = weights > 0
        base = Sample.of(reference.values[used], weights[used], reference.keys[used])
        sample = Sample.of(part.values[known], part.weights[known], part.keys[known])
        if not len(base) or not len(sample):
            return None
        return Reference(base, self._bins).movement_of(sample)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some rows: their values, keys, hours of the period, and weights."""

    values: FloatArray
    keys: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.int64]
    weights: FloatArray


def _scores(name: str, values: npt.ArrayLike, times: npt.NDArray[np.int64]) -> FloatArray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.shape != times.shape:
        raise InvalidSample(name, f"has {scores.size} scores for {times.size} times")
    return scores
