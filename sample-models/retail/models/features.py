"""From questions to the numbers that the models compute with, and from scores to answers.

A field that is missing gets the value of an ordinary one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sales import DAYS, HORIZON_DAYS, ITEMS

COUNT = 9 + 6 * len(ITEMS)
ORDER_FROM, ASK_FROM = 0.5, 0.25
_ORDINARY: dict[str, Any] = {
    "stock": 20,
    "sold_7d": 40,
    "day": 120,
    "temperature": 12.0,
    "promotion": False,
}
_ITEM_NUMBERS = {item: number for number, item in enumerate(ITEMS)}


def features(rows: list[dict[str, Any]]) -> np.ndarray:
    """One line of `COUNT` numbers for each question. Raises for a field that is no number."""
    plain = np.array([[row.get(k, v) for k, v in _ORDINARY.items()] for row in rows], float)
    stock, sold, day, temperature, promotion = plain.T
    out = np.zeros((len(rows), COUNT))
    expected = HORIZON_DAYS / 7 * np.maximum(sold, 0)
    out[:, 0] = np.log((expected + 0.5) / (np.maximum(stock, 0) + 0.5))
    out[:, 1] = np.log1p(np.maximum(stock, 0))
    out[:, 2] = promotion
    weekend = np.mean([(day + ahead) % 7 >= 5 for ahead in (1, 2, 3)], axis=0)
    out[:, 3] = weekend
    angle = 2 * np.pi * day / DAYS
    season = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
    out[:, 4:8] = season
    out[:, 8] = temperature / 10
    for line, row in enumerate(rows):
        number = _ITEM_NUMBERS.get(row.get("item", ""))
        if number is not None:
            start = 9 + 6 * number
            out[line, start] = 1
            out[line, start + 1] = temperature[line] / 10
            out[line, start + 2 : start + 6] = season[line]
    return out


def answers(scores: np.ndarray) -> list[dict[str, Any]]:
    """What the shop gets: how probable it is that the stock does not last, and what to do."""
    return [
        {"out_of_stock": round(score, 4), "action": _action(score)} for score in scores.tolist()
    ]


def _action(score: float) -> str:
    if score >= ORDER_FROM:
        return "order"
    return "ask" if score >= ASK_FROM else "wait"
