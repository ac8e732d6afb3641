"""Trains the click model on made-up clicks and says what its pages are worth.

    python models/train.py      some seconds; writes *.npz here and ../requests.jsonl

Seeds are fixed. The page views that it judges by are others than those that it learns from, and
what a page is worth is the true click rate of its ads, which no model has seen.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from catalogue import (
    ADS,
    CANDIDATES,
    SHARDS,
    TOP,
    USERS,
    World,
    click_rate,
    make_requests,
    make_world,
    name,
)
from click_model import COUNT, features
from weights import sigmoid, write_weights

VIEWS, ADS_A_VIEW, JUDGE, TRY = 4_000, 25, (300, 2), (1_000, 3)
HIDDEN = 32


def write_catalogue(world: World) -> None:
    """The ads and users as the enricher and the fallback see them, and each shard's share."""
    ads = world.ads
    write_weights("ads", topics=ads.topics, history=ads.history)
    write_weights(
        "users", names=np.array([name(n) for n in range(USERS)]), interests=world.interests
    )
    for shard in range(SHARDS):
        own = slice(shard, ADS, SHARDS)
        write_weights(
            f"shard-{shard}",
            topics=ads.topics[own],
            video=ads.video[own],
            history=ads.history[own],
        )


def clicks(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Features of ads that were shown, as the old way of choosing had it, and what was clicked."""
    rng = np.random.default_rng(7)
    x = np.empty((VIEWS * ADS_A_VIEW, COUNT))
    y = np.empty(VIEWS * ADS_A_VIEW)
    for view in range(VIEWS):
        user, mobile = int(rng.integers(USERS)), bool(rng.random() < 0.6)
        interests = world.interests[user]
        shown = rng.integers(0, ADS, 4 * ADS_A_VIEW)
        match = world.ads.topics[shown] @ interests
        shown = shown[np.argsort(-match)[:ADS_A_VIEW]]
        lines = slice(view * ADS_A_VIEW, (view + 1) * ADS_A_VIEW)
        ads = world.ads
        x[lines] = features(
            ads.topics[shown], ads.video[shown], ads.history[shown], interests, mobile
        )
        y[lines] = rng.random(ADS_A_VIEW) < click_rate(world, user, mobile, shown)
    return x, y


def fit(x: np.ndarray, y: np.ndarray, epochs: int = 6, batch: int = 256) -> dict[str, np.ndarray]:
    """Adam on batches, the learning rate falling to zero; written out, since it is short."""
    rng = np.random.default_rng(0)
    mean, std = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / std
    weights = [
        rng.normal(0, np.sqrt(2 / COUNT), (COUNT, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, np.sqrt(1 / HIDDEN), HIDDEN),
        np.array(-4.0),
    ]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    steps = epochs * (len(z) // batch)
    for step in range(1, steps + 1):
        lines = rng.integers(0, len(z), batch)
        rate = 0.01 * (1 - step / steps)
        for number, gradient in enumerate(_gradients(weights, z[lines], y[lines])):
            first[number] = 0.9 * first[number] + 0.1 * gradient
            second[number] = 0.999 * second[number] + 0.001 * gradient**2
            m, v = first[number] / (1 - 0.9**step), second[number] / (1 - 0.999**step)
            weights[number] = weights[number] - rate * m / (np.sqrt(v) + 1e-8)
    w1, b1, w2, b2 = weights
    return {"mean": mean, "std": std, "w1": w1, "b1": b1, "w2": w2, "b2": b2}


def _gradients(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of the mean log loss of a batch, by the chain rule, with a little weight decay."""
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1 + b1, 0)
    error = (sigmoid(hidden @ w2 + b2) - y) / len(y)
    back = np.outer(error, w2) * (hidden > 0)
    return [x.T @ back + 1e-4 * w1, back.sum(0), hidden.T @ error + 1e-4 * w2, error.sum()]


def merge(lists: list[list[dict[str, Any]]]) -> list[int]:
    """As the schedule does it: the ten best of all lists by score."""
    ads = sorted((ad for ads in lists for ad in ads), key=lambda ad: -ad["score"])
    return [ad["id"] for ad in ads[:TOP]]


def judge(world: World) -> dict[str, Any]:
    """What pages are worth, through the same doors as in production: `enrich` and `predict`."""
    views = [row["data"] for row in make_requests(*JUDGE)]
    enrich = importlib.import_module("preselect").enrich
    rows = [enrich(view) for view in views]
    assert all(len(row["candidates"]) == CANDIDATES for row in rows)
    shards = [importlib.import_module(f"shard_{n}").predict for n in range(SHARDS)]
    popular = importlib.import_module("popular").predict

    def worth(pages: list[list[int]]) -> float:
        rates = [
            click_rate(world, int(view["user"][2:]), view["mobile"], np.array(page)).mean()
            for view, page in zip(views, pages, strict=True)
        ]
        return round(float(np.mean(rates)), 4)

    lists = [[answer["ads"] for answer in predict(rows)] for predict in shards]
    all_shards = [merge(list(parts)) for parts in zip(*lists, strict=True)]
    one_missing = [merge(list(parts)) for parts in zip(*lists[1:], strict=True)]
    fallback = [[ad["id"] for ad in answer["ads"]] for answer in popular(rows)]
    slowest_ms, popular_ms = max(cost_ms(p, rows) for p in shards), cost_ms(popular, rows)
    return {
        "metric": "clicks per ad",
        "held_out": len(rows),
        "models": [
            {
                "name": "5 shards",
                "role": "merged",
                "value": worth(all_shards),
                "row_ms": slowest_ms,
            },
            {"name": "4 of 5", "role": "merged", "value": worth(one_missing), "row_ms": slowest_ms},
            {"name": "popular", "value": worth(fallback), "row_ms": popular_ms},
        ],
    }


def cost_ms(predict: Any, rows: list[dict[str, Any]]) -> float:
    """Median time of one request."""
    times = []
    for row in rows[:100]:
        start = time.perf_counter()
        predict([row])
        times.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(times)), 4)


def main() -> None:
    world = make_world()
    write_catalogue(world)
    write_weights("click", **fit(*clicks(world)))
    lines = "".join(json.dumps(row) + "\n" for row in make_requests(*TRY))
    (Path(__file__).parent.parent / "requests.jsonl").write_text(lines)
    sys.stdout.write(json.dumps(judge(world)) + "\n")


if __name__ == "__main__":
    main()
