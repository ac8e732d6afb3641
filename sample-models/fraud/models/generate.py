"""Makes up card payments, some of them fraudulent. The same seed makes the same payments.

    python models/generate.py --n 1000 --seed 3 > requests.jsonl

Honest customers pay in categories that they like, amounts around a mean of their own, mostly at
day, mostly near home. On top of that there are four kinds of fraud, which leave traces in several
fields at once (that is why a network finds more of them than a sum of single signs does), and a
small share of fraud without any trace (no model finds that). About 2 % of the payments are fraud.

A row is {"data": PAYMENT, "key": USER, "truth": {"fraud": BOOL}}. Models see `data` only.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

CATEGORIES = ("grocery", "fuel", "restaurant", "travel", "electronics", "gaming", "gift_card")
_SHARES = (0.34, 0.14, 0.2, 0.08, 0.1, 0.08, 0.06)
_USERS = 2_000


def generate(n: int, seed: int) -> list[dict[str, Any]]:
    """`n` rows. Kinds of fraud: see `_fraud_probability`."""
    rng = np.random.default_rng(seed)
    payment = _honest(rng, n)
    _odd_but_honest(rng, payment, n)
    fraud = rng.random(n) < _fraud_probability(payment)
    names = list(payment)
    columns = [payment[name].tolist() for name in names]
    return [
        {
            "data": {**dict(zip(names, values, strict=True)), "user": f"u-{user:04d}"},
            "key": f"u-{user:04d}",
            "truth": {"fraud": is_fraud},
        }
        for *values, user, is_fraud in zip(
            *columns, rng.integers(0, _USERS, n).tolist(), fraud.tolist(), strict=True
        )
    ]


def _honest(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    mean_amount = rng.lognormal(3.4, 0.6, n)
    return {
        "amount": np.round(mean_amount * rng.lognormal(-0.2, 0.7, n), 2),
        "mean_amount_30d": np.round(mean_amount, 2),
        "hour": (rng.normal(14, 4.5, n).astype(int)) % 24,
        "card_present": rng.random(n) < 0.6,
        "abroad": rng.random(n) < 0.06,
        "category": rng.choice(CATEGORIES, n, p=_SHARES),
        "device_age_days": np.round(rng.exponential(300, n), 1),
        "account_age_days": np.round(rng.exponential(900, n) + 1, 0),
        "distance_km": np.round(rng.lognormal(1.5, 1.3, n), 1),
        "minutes_since_last": np.round(rng.exponential(900, n) + 1, 0),
        "payments_last_hour": rng.poisson(0.4, n),
    }


def _odd_but_honest(rng: np.random.Generator, payment: dict[str, np.ndarray], n: int) -> None:
    """Every sign of fraud also happens to honest people, one at a time as well as together."""
    payment["device_age_days"][rng.random(n) < 0.25] = 0.5
    payment["payments_last_hour"][rng.random(n) < 0.12] += 5
    payment["distance_km"][rng.random(n) < 0.1] *= 60
    payment["minutes_since_last"][rng.random(n) < 0.15] = 12
    large, small = rng.random(n) < 0.2, rng.random(n) < 0.15
    payment["amount"][large] = np.round(payment["amount"][large] * 6, 2)
    payment["amount"][small] = np.round(1 + payment["amount"][small] % 2, 2)
    payment["account_age_days"][rng.random(n) < 0.12] = 10


def _fraud_probability(payment: dict[str, np.ndarray]) -> np.ndarray:
    """The truth behind the data: four patterns, and a rest that nothing gives away."""
    large = payment["amount"] > 2.5 * payment["mean_amount_30d"]
    speed_kmh = 60 * payment["distance_km"] / payment["minutes_since_last"]
    online, new_device = ~payment["card_present"], payment["device_age_days"] < 2
    vouchers = np.isin(payment["category"], ("gift_card", "gaming", "electronics"))
    taken_over = online & new_device & large
    tested = online & (payment["amount"] < 4) & (payment["payments_last_hour"] >= 4)
    cloned = payment["card_present"] & (speed_kmh > 700)
    mule = vouchers & large & (payment["account_age_days"] < 30)
    none = np.ones(len(large))
    for pattern, share in ((taken_over, 0.7), (tested, 0.75), (cloned, 0.65), (mule, 0.7)):
        none *= 1 - share * pattern
    return 1 - none * (1 - 0.002)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes up card payments, one JSON row a line.")
    parser.add_argument("--n", type=int, default=1000, help="how many rows")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    for row in generate(options.n, options.seed):
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
