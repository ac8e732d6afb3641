"""Makes up what shops sell. The same seed makes the same sales.

    python models/sales.py --n 1000 --seed 3 > requests.jsonl              # a year, in order
    python models/sales.py --n 1000 --seed 3 --from-day 330 --to-day 360   # before Christmas

Every evening a shop asks for each item whether its stock lasts until the delivery in three days.
Demand is what sold last week, times what the next three days are like: ice cream sells in the
heat, toys before Christmas, barbecue coal on warm weekends, everything when its price is cut. So
the input drifts through the year, and a model that has not learned the season goes wrong with it.

A row is {"data": {…}, "key": SHOP, "truth": {"runs_out": BOOL}}. Models see `data` only.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

ITEMS = ("ice_cream", "coal", "toys", "soup", "milk", "candles")
DAYS = 364
HORIZON_DAYS = 3
_SHOPS = 200


def make_rows(n: int, seed: int, from_day: int = 0, to_day: int = DAYS) -> list[dict[str, Any]]:
    """`n` questions, evenly over the days, in their order. Day 0 is a Monday in January."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(from_day, to_day, n))
    item = rng.integers(0, len(ITEMS), n)
    summer = -np.cos(2 * np.pi * (day - 15) / DAYS)
    temperature = np.round(10 + 11 * summer + rng.normal(0, 4, n), 1)
    promotion = rng.random(n) < 0.12
    before = day - 4  # the week that has been: what it sold says so much, and no more
    base = rng.lognormal(2.2, 0.6, n)
    typical = 10 + 11 * -np.cos(2 * np.pi * (before - 15) / DAYS)
    past = base * _season(item, before, typical, weekend=2 / 7)
    sold_7d = rng.poisson(7 * past)
    weekend = np.mean([(day + ahead) % 7 >= 5 for ahead in (1, 2, 3)], axis=0)
    future = base * _season(item, day + 2, temperature, weekend) * np.where(promotion, 1.7, 1)
    demand = rng.poisson(HORIZON_DAYS * future)
    # Shops order by the ordinary day, and somewhat more when they see that it sells.
    ordered = base * np.sqrt(past / base)
    stock = np.round(HORIZON_DAYS * ordered * rng.lognormal(0.3, 0.5, n)).astype(int)
    shop = rng.integers(0, _SHOPS, n)
    return [
        {
            "data": {
                "item": ITEMS[item[k]],
                "stock": int(stock[k]),
                "sold_7d": int(sold_7d[k]),
                "day": int(day[k]),
                "temperature": float(temperature[k]),
                "promotion": bool(promotion[k]),
            },
            "key": f"shop-{shop[k]:03d}",
            "truth": {"runs_out": bool(demand[k] > stock[k])},
        }
        for k in range(n)
    ]


def _season(
    item: np.ndarray, day: np.ndarray, temperature: np.ndarray, weekend: np.ndarray | float
) -> np.ndarray:
    """The factor by which a day differs from an ordinary one: the truth behind the data."""
    heat = np.clip((temperature - 18) / 8, 0, 2)
    cold = np.clip((8 - temperature) / 8, 0, 2)
    christmas = np.exp(-(((day - 353) / 10) ** 2))
    factors = [
        1 + 1.8 * heat,  # ice cream
        1 + 1.5 * heat * (0.3 + 2 * np.asarray(weekend)),  # coal: heat and weekend
        1 + 3.0 * christmas,  # toys
        1 + 0.9 * cold,  # soup
        1 + 0 * heat,  # milk
        1 + 0.8 * cold + 1.5 * christmas,  # candles
    ]
    return np.asarray(np.choose(item, factors))


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes up sales, one JSON row a line.")
    parser.add_argument("--n", type=int, default=1000, help="how many rows")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--from-day", type=int, default=0)
    parser.add_argument("--to-day", type=int, default=DAYS)
    options = parser.parse_args()
    for row in make_rows(options.n, options.seed, options.from_day, options.to_day):
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
