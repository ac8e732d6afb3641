"""The fast fallback: the ads that were clicked most, for all users. Computed once, at the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from catalogue import TOP
from weights import read_weights, sigmoid

_ADS, version = read_weights("ads")
_BEST = np.argsort(-_ADS["history"])[:TOP]
_ANSWER = {
    "ads": [{"id": int(ad), "score": round(float(sigmoid(_ADS["history"][ad])), 5)} for ad in _BEST]
}


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same ads for each row."""
    return [_ANSWER] * len(rows)
