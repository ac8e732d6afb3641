"""The fast fallback: rules that a person wrote. No library, no weights, a microsecond each."""

from __future__ import annotations

from typing import Any

version = "rules-1"


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One answer for each payment."""
    return [_ANSWERS[_signs(row)] for row in rows]


def _signs(row: dict[str, Any]) -> int:
    """How many of three signs a payment has: large, from far away, in a hurry or a new device."""
    return (
        (row.get("amount", 0) > 3 * row.get("mean_amount_30d", 30))
        + (row.get("distance_km", 0) > 200)
        + (row.get("payments_last_hour", 0) > 3 or row.get("device_age_days", 200) < 1)
    )


_ANSWERS = (
    {"score": 0.02, "action": "accept"},
    {"score": 0.2, "action": "accept"},
    {"score": 0.5, "action": "review"},
    {"score": 0.8, "action": "decline"},
)
