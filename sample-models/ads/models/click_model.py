"""The click model, and what makes a shard of it: the same network over a fifth of the ads.

Scores of all shards are probabilities of the same network, so that their lists can be merged by
score (`combine = "topscore"` in the schedule).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from catalogue import SHARDS, TOP
from weights import read_weights, sigmoid

COUNT = 13
Predict = Callable[[list[dict[str, Any]]], list[Any]]


def features(
    topics: np.ndarray, video: np.ndarray, history: np.ndarray, interests: np.ndarray, mobile: bool
) -> np.ndarray:
    """One line of `COUNT` numbers for each ad, for one user."""
    out = np.empty((len(topics), COUNT))
    out[:, :8] = topics * interests
    out[:, 8] = topics @ interests
    out[:, 9] = interests.max() * (topics @ (interests < 0.1))
    out[:, 10] = history
    out[:, 11] = video * mobile
    out[:, 12] = video * (not mobile)
    return out


def network(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The probability of a click for each line of features."""
    hidden = np.maximum((x - weights["mean"]) / weights["std"] @ weights["w1"] + weights["b1"], 0)
    return sigmoid(hidden @ weights["w2"] + weights["b2"])


def open_shard(name: str) -> tuple[Predict, str]:
    """`predict` and `version` of the shard whose ads are in NAME.npz."""
    ads, ads_version = read_weights(name)
    weights, version = read_weights("click")
    shard = int(name.rpartition("-")[2])

    def best(row: dict[str, Any]) -> dict[str, Any]:
        """The ten best of the candidates that are in this shard."""
        if "candidates" not in row:
            raise ValueError("no candidates: the enricher was late, or is not set")
        candidates = np.asarray(row["candidates"])
        mine = candidates[candidates % SHARDS == shard]
        place = mine // SHARDS
        x = features(
            ads["topics"][place],
            ads["video"][place],
            ads["history"][place],
            np.asarray(row["interests"]),
            bool(row.get("mobile", True)),
        )
        scores = network(weights, x)
        order = np.argsort(-scores)[:TOP]
        found = zip(mine[order].tolist(), scores[order].tolist(), strict=True)
        return {"ads": [{"id": id_, "score": round(score, 5)} for id_, score in found]}

    def predict(rows: list[dict[str, Any]]) -> list[Any]:
        return [best(row) for row in rows]

    return predict, f"{version}.{ads_version}"
