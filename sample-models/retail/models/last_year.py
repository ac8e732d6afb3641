"""The canary: a model that never changes, and sees every request.

Logistic regression on two numbers, learned once. It is not there to be right. When the
distribution of its scores moves, the input has changed (heat, Christmas, a new shop); when the
champion's moves and the canary's does not, the champion has. No schedule accepts it: it is there
to be compared with (and "*" would accept it, so the schedules here name models instead).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from features import answers, features
from weights import read_weights, sigmoid

_W, version = read_weights("last_year")


def score(x: np.ndarray) -> np.ndarray:
    """The probability to run out, from stock and last week's sales alone."""
    return sigmoid(x[:, :2] @ _W["w"] + _W["b"])


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One answer for each question."""
    return answers(score(features(rows)))
