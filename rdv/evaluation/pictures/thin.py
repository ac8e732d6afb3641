"""Reduce the number of points without a visible change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rdv.evaluation.pictures.chart import FloatArray


def thin_line(x: FloatArray, y: FloatArray, limit: int) -> tuple[FloatArray, FloatArray]:
    """Return at most about `limit` points of a line: the lowest and the highest of each part.

    So a single spike among a million values is still visible; both ends stay.
    """
    count = len(x)
    if count <= limit:
        return x, y
    stretches = np.array_split(np.arange(count), max(1, (limit - 2) // 2))
    shown = np.where(np.isfinite(y), y, 0.0)
    kept = [0, count - 1]
    for rows in stretches:
        kept += [int(rows[np.argmin(shown[rows])]), int(rows[np.argmax(shown[rows])])]
    rows = np.unique(kept)
    return x[rows], y[rows]


def thin_rows(count: int, limit: int) -> npt.NDArray[np.intp]:
    """Return at most `limit` rows, evenly spread, including both ends."""
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.intp))
