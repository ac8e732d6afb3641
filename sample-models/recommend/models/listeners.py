"""Makes up people and what they listen to. The same seed makes the same people.

    python models/listeners.py --n 1000 --seed 3 > requests.jsonl

There are 600 songs in 12 styles. Each user has a taste: two or three styles, and a leaning within
each of them that songs have as well. A song is chosen when it is liked, and more often when it is
a hit. That taste is a mixture is what factors find and single neighbours do not; that hits are
hits is all that the fallback knows.

A row is {"data": {"history": [SONG, …]}, "key": USER, "truth": {"likes": [SONG, …]}}: what a user
has listened to so far, and what came next. Models see `data` only.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NamedTuple

import numpy as np

ITEMS, STYLES, LEANINGS = 600, 12, 5
HISTORY, LIKES = 10, 10
TOP = 10


class Songs(NamedTuple):
    """One line for each song."""

    style: np.ndarray
    leaning: np.ndarray
    hit: np.ndarray


def make_songs() -> Songs:
    """Always the same songs."""
    rng = np.random.default_rng(11)
    leaning = rng.normal(0, 1, (ITEMS, LEANINGS))
    return Songs(rng.integers(0, STYLES, ITEMS), leaning, rng.normal(0, 0.8, ITEMS))


def make_people(n: int, seed: int) -> np.ndarray:
    """What `n` people have listened to, in order: HISTORY + LIKES different songs each."""
    songs = make_songs()
    rng = np.random.default_rng(seed)
    chosen = np.empty((n, HISTORY + LIKES), int)
    for person in range(n):
        styles = np.full(STYLES, -3.0)
        styles[rng.choice(STYLES, rng.integers(2, 4), replace=False)] = 1.5
        leaning = rng.normal(0, 0.9, LEANINGS)
        like = styles[songs.style] + songs.leaning @ leaning + songs.hit
        # The songs with the largest (liking + Gumbel noise): drawn without replacement.
        noisy = like + rng.gumbel(0, 1, ITEMS)
        chosen[person] = np.argsort(-noisy)[: HISTORY + LIKES]
        rng.shuffle(chosen[person])
    return chosen


def make_requests(n: int, seed: int) -> list[dict[str, Any]]:
    """`n` people, each with a history and what came next."""
    return [
        {
            "data": {"history": songs[:HISTORY].tolist()},
            "key": f"u-{number:05d}",
            "truth": {"likes": songs[HISTORY:].tolist()},
        }
        for number, songs in enumerate(make_people(n, seed))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes up listeners, one JSON row a line.")
    parser.add_argument("--n", type=int, default=1000, help="how many rows")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    for row in make_requests(options.n, options.seed):
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
