"""Compute drift, window by window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.drift.movement import Movement, Reference
from rdv.evaluation.statistics.drift.verdict import Verdict, judge
from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import FloatArray
from rdv.evaluation.statistics.windows import windows


@dataclass(frozen=True, slots=True)
class DriftWindow:
    """The findings for a window in [start_ns, end_ns); a movement is None if there are no
    scores.
    """

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
