"""The fast fallback: what most users listen to. The order is computed once, at the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from listeners import TOP
from lists import COUNT_MAX
from weights import read_weights

_W, version = read_weights("popular")
_ORDER = np.argsort(-_W["popularity"], kind="stable")
_LIST = [{"id": int(n), "score": round(float(_W["popularity"][n]), 4)} for n in _ORDER]


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The most popular songs that are not in the history."""
    return [{"items": _without(row.get("history", []), row.get("count", TOP))} for row in rows]


def _without(known: list[int], count: int) -> list[dict[str, Any]]:
    heard = set(known)
    found: list[dict[str, Any]] = []
    for item in _LIST:
        if len(found) >= min(count, COUNT_MAX):
            break
        if item["id"] not in heard:
            found.append(item)
    return found
