"""Trains the recommenders on made-up listeners and says how good they are for others.

    python models/train.py      some seconds; writes *.npz here and ../requests.jsonl

Seeds are fixed. People to learn from, to judge by and to try are three different crowds.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from least_squares import factorise
from listeners import ITEMS, LIKES, TOP, make_people, make_requests
from weights import write_weights

LEARN, JUDGE, TRY = (3_000, 1), (500, 2), (1_000, 3)
FACTORS, ROUNDS, FACTORISATIONS = 24, 6, 3
NEIGHBOURS = 40


def train() -> None:
    """Write the weights."""
    heard = np.zeros((LEARN[0], ITEMS))
    np.put_along_axis(heard, make_people(*LEARN), 1, axis=1)
    popularity = heard.mean(0)
    write_weights("popular", popularity=popularity)
    write_weights("neighbours", indicators=indicators(heard), popularity=popularity)
    songs = np.stack([factorise(heard, FACTORS, ROUNDS, seed) for seed in range(FACTORISATIONS)])
    write_weights("factors", songs=songs, grams=songs.transpose(0, 2, 1) @ songs)


def indicators(heard: np.ndarray) -> np.ndarray:
    """The log-likelihood ratio of each pair of songs, of the strongest NEIGHBOURS of each."""
    people = len(heard)
    both = heard.T @ heard
    one = heard.sum(0)
    only, other = one[:, None] - both, one[None, :] - both
    neither = people - both - only - other
    ratio = 2 * (
        _entropy(both + only, other + neither)
        + _entropy(both + other, only + neither)
        - _entropy(both, only, other, neither)
    )
    ratio[both * people <= one[:, None] * one[None, :]] = 0  # together less often than by chance
    np.fill_diagonal(ratio, 0)
    weak = np.argsort(-ratio, axis=1)[:, NEIGHBOURS:]
    np.put_along_axis(ratio, weak, 0, axis=1)
    return np.log1p(np.maximum(ratio, 0))


def _entropy(*counts: np.ndarray) -> np.ndarray:
    """Of counts, not of shares: N log N - sum k log k."""
    total = np.sum(counts, axis=0)
    return np.asarray(_xlogx(total) - np.sum([_xlogx(count) for count in counts], axis=0))


def _xlogx(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1e-12)))


def judge() -> dict[str, Any]:
    """Measure the models as production calls them: by `predict`."""
    rows = make_requests(*JUDGE)
    data = [row["data"] for row in rows]
    models = []
    for name in ("factors", "neighbours", "popular"):
        predict = importlib.import_module(name).predict
        found = [{item["id"] for item in answer["items"]} for answer in predict(data)]
        right = [
            len(ids & set(row["truth"]["likes"])) / min(TOP, LIKES)
            for ids, row in zip(found, rows, strict=True)
        ]
        times = []
        for row in data[:100]:
            start = time.perf_counter()
            predict([row])
            times.append(time.perf_counter() - start)
        cost_ms = round(1e3 * float(np.median(times)), 4)
        models.append({"name": name, "value": round(float(np.mean(right)), 4), "row_ms": cost_ms})
    return {"metric": "precision at 10", "held_out": len(rows), "models": models}


def main() -> None:
    train()
    lines = "".join(json.dumps(row) + "\n" for row in make_requests(*TRY))
    (Path(__file__).parent.parent / "requests.jsonl").write_text(lines)
    sys.stdout.write(json.dumps(judge()) + "\n")


if __name__ == "__main__":
    main()
