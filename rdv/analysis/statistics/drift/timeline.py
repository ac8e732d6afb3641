"""Drift window by window: have scores moved from a reference, by the input or by the model?

The canary is a model that never changes and sees every request. If its scores move, the input has
changed; if a model's scores move and the canary's do not, the model has (Dunning & Friedman,
*Machine Learning Logistics*, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.statistics.drift.distances import (
    BINS,
    ERROR_RATE,
    Bins,
    KolmogorovSmirnov,
    Psi,
    QuantileShift,
    of_sorted,
    psi,
    quantile_shifts,
)
from rdv.analysis.statistics.event_rate import windows
from rdv.analysis.statistics.sample import FloatArray, IntArray, InvalidSample, as_sample

COUNT_MIN = 100
"""The minimum number of values in a window for a finding."""
PSI_MOVED = 0.1
"""The index from which scores have moved: the usual convention (0.1 moderate, 0.25 large)."""
PSI_STIRRED = 0.05
"""The index from which scores count as moving along, if another model has moved."""
KS_MOVED = 0.1
"""The same as a distance of distributions: a tenth of the requests on the other side."""
KS_STIRRED = 0.05

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

    Both indices must be large enough to matter *and* beyond chance (an error rate of 0.001 for
    each): with a million requests everything is significant, with fifty anything is large.
    """

    count: int
    state: State
    psi: Psi
    ks: KolmogorovSmirnov
    shifts: tuple[QuantileShift, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One model's scores in a good state, prepared for many comparisons."""

    ordered: FloatArray
    bins: Bins
    counts: IntArray

    @classmethod
    def of(cls, scores: npt.ArrayLike, bins: int = BINS) -> Reference:
        """Make a reference from the scores of its window. Raises InvalidSample below 100."""
        ordered = np.sort(as_sample("reference", scores, at_least=COUNT_MIN))
        made = Bins.of(ordered, bins)
        return cls(ordered, made, made.count(ordered))

    def movement(self, scores: npt.ArrayLike) -> Movement | None:
        """Return how far the scores of another window have moved; None for an empty window."""
        window = np.sort(as_sample("window", scores, at_least=0))
        if not len(window):
            return None
        index = psi(self.counts, self.bins.count(window))
        distance = of_sorted(self.ordered, window)
        return Movement(
            len(window),
            _state(len(window), index, distance),
            index,
            distance,
            quantile_shifts(self.ordered, window),
        )


def _state(count: int, index: Psi, distance: KolmogorovSmirnov) -> State:
    if count < COUNT_MIN:
        return "too few"
    by_psi = index.value if index.significant else 0.0
    by_ks = distance.distance if distance.p_value < ERROR_RATE else 0.0
    if by_psi >= PSI_MOVED or by_ks >= KS_MOVED:
        return "moved"
    return "stirred" if by_psi >= PSI_STIRRED or by_ks >= KS_STIRRED else "still"


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


def drift_over_time(
    time_ns: npt.ArrayLike,
    model: npt.ArrayLike,
    canary: npt.ArrayLike,
    *,
    reference_ns: tuple[int, int],
    width_ns: int,
) -> list[DriftWindow]:
    """Compare each window of `width_ns` with the reference window [start, end) of the same rows.

    A row is one request, in order of time; NaN where that model has not scored it. The rows of the
    reference are judged too, as a check: they should be steady. Raises InvalidSample.
    """
    times = np.asarray(time_ns)
    scores = [
        _scores(name, values, times) for name, values in (("model", model), ("canary", canary))
    ]
    rows = windows(times, width_ns)
    inside = slice(*np.searchsorted(times, np.array(reference_ns, np.int64), "left").tolist())
    references = [Reference.of(_finite(one[inside])) for one in scores]
    found = []
    for window in rows:
        moves = [
            reference.movement(_finite(one[window.rows]))
            for reference, one in zip(references, scores, strict=True)
        ]
        verdict = judge(moves[0], moves[1])
        found.append(DriftWindow(window.start_ns, window.end_ns, moves[0], moves[1], verdict))
    return found


def _scores(name: str, values: npt.ArrayLike, times: npt.NDArray[np.int64]) -> FloatArray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.shape != times.shape:
        raise InvalidSample(name, f"has {scores.size} scores for {times.size} times")
    return scores


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]
