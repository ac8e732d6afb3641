"""From requests to histories, and from scores to lists of songs."""

from __future__ import annotations

from typing import Any

import numpy as np
from listeners import ITEMS, TOP

COUNT_MAX = 100


def history(row: dict[str, Any]) -> np.ndarray:
    """Return the songs that a user has listened to; unknown ones are left out."""
    songs = np.asarray(row.get("history", []), dtype=int).reshape(-1)
    return np.unique(songs[(songs >= 0) & (songs < ITEMS)])


def best(row: dict[str, Any], scores: np.ndarray, known: np.ndarray) -> dict[str, Any]:
    """The `count` songs with the highest scores (10 unless asked for), without the known ones."""
    count = min(int(row.get("count", TOP)), COUNT_MAX)
    scores = scores.copy()
    scores[known] = -np.inf
    order = np.argsort(-scores, kind="stable")[: min(count, ITEMS - len(known))]
    found = zip(order.tolist(), scores[order].tolist(), strict=True)
    return {"items": [{"id": id_, "score": round(score, 4)} for id_, score in found]}
