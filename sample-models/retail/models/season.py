"""The champion: a network of two layers. Knows what heat and Christmas do to each item."""

from __future__ import annotations

from typing import Any

import numpy as np
from features import answers, features
from weights import read_weights, sigmoid

_W, version = read_weights("season")


def score(x: np.ndarray) -> np.ndarray:
    """The probability to run out for each line of features: one matrix product for the batch."""
    hidden = np.maximum((x - _W["mean"]) / _W["std"] @ _W["w1"] + _W["b1"], 0)
    return sigmoid(hidden @ _W["w2"] + _W["b2"])


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One answer for each question."""
    return answers(score(features(rows)))
