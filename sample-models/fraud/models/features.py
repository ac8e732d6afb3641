"""From payments to the 20 numbers that the models compute with, and from scores to answers.

A field that a payment does not have gets the value of an ordinary one, so that
`{"amount": 12.5}` is a question too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from generate import CATEGORIES

COUNT = 13 + len(CATEGORIES)
DECLINE_FROM, REVIEW_FROM = 0.5, 0.15
_ORDINARY: dict[str, Any] = {
    "amount": 30.0,
    "mean_amount_30d": 30.0,
    "hour": 14,
    "card_present": True,
    "abroad": False,
    "category": "grocery",
    "device_age_days": 200.0,
    "account_age_days": 600.0,
    "distance_km": 5.0,
    "minutes_since_last": 600.0,
    "payments_last_hour": 0,
}
_NUMBERS = tuple(name for name in _ORDINARY if name != "category")
_CATEGORY_NUMBERS = {category: number for number, category in enumerate(CATEGORIES)}
_HOUR = 2 * math.pi / 24


def features(rows: list[dict[str, Any]]) -> np.ndarray:
    """One line of `COUNT` numbers for each payment. Raises for a field that is no number."""
    plain = np.array([[row.get(name, _ORDINARY[name]) for name in _NUMBERS] for row in rows], float)
    amount, mean, hour, present, abroad, device, account, km, minutes, count = plain.T
    out = np.zeros((len(rows), COUNT))
    out[:, 0] = np.log1p(np.maximum(amount, 0))
    out[:, 1] = np.log((np.maximum(amount, 0) + 0.1) / (np.maximum(mean, 0) + 0.1))
    out[:, 2] = np.sin(hour * _HOUR)
    out[:, 3] = np.cos(hour * _HOUR)
    out[:, 4], out[:, 5] = present, abroad
    out[:, 6] = np.log1p(np.maximum(device, 0))
    out[:, 7] = np.log1p(np.maximum(account, 0))
    out[:, 8] = np.log1p(np.maximum(km, 0))
    out[:, 9] = np.log1p(np.maximum(minutes, 0))
    out[:, 10] = count
    out[:, 11] = np.log1p(60 * np.maximum(km, 0) / np.maximum(minutes, 1))
    out[:, 12] = amount < 4
    for line, row in enumerate(rows):
        number = _CATEGORY_NUMBERS.get(row.get("category", "grocery"))
        if number is not None:
            out[line, 13 + number] = 1
    return out


def answers(scores: np.ndarray) -> list[dict[str, Any]]:
    """What the client gets: the probability of fraud, and what to do about it."""
    return [{"score": round(score, 4), "action": _action(score)} for score in scores.tolist()]


def _action(score: float) -> str:
    if score >= DECLINE_FROM:
        return "decline"
    return "review" if score >= REVIEW_FROM else "accept"
