"""The enricher: chooses 1,000 candidates of 20,000 ads, once for each request.

`http.enrich` in rdv.toml names it. It runs in the proxy, before the request goes to the models, so
that all shards see the same user and the same candidates, and the log has what they saw. It has
`enrich_timeout_ms`; a request that it is too late for goes on without candidates, the shards then
say so, and the popular ads are shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from catalogue import CANDIDATES, TOPICS
from weights import read_weights

_ADS, _ = read_weights("ads")
_USERS, _ = read_weights("users")
_ROWS = {user: row for row, user in enumerate(_USERS["names"].tolist())}
_AVERAGE = _USERS["interests"].mean(0)
_PAGE_COUNTS = 0.2


def enrich(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` with "interests" and "candidates"; unknown users have average interests."""
    row = _ROWS.get(data.get("user", ""))
    interests = _AVERAGE if row is None else _USERS["interests"][row]
    wish = interests.copy()
    if data.get("page") in TOPICS:
        wish[TOPICS.index(data["page"])] += _PAGE_COUNTS
    worth = 4 * (_ADS["topics"] @ wish) + _ADS["history"]
    candidates = np.argpartition(worth, -CANDIDATES)[-CANDIDATES:]
    return {
        **data,
        "interests": interests.round(3).tolist(),
        "candidates": np.sort(candidates).tolist(),
    }
