"""Makes up ads, people, and what they click. The same seed makes the same world.

    python models/catalogue.py --n 1000 --seed 3 > requests.jsonl

An ad has a mix of topics, an appeal of its own, a format (video or not) and a history: how often
it was shown and clicked. A person has interests. A person clicks when the topics meet the
interests, more so on ads that appeal to all people; video works on a phone and is in the way
elsewhere; and who is very interested in one topic is bored by the rest. That last part is why a
network does better than the history of clicks alone.

A row is {"data": {"user": …, "page": …, "mobile": …}, "key": USER}.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NamedTuple

import numpy as np

ADS, USERS, SHARDS = 20_000, 2_000, 5
CANDIDATES = 1_000
TOP = 10
TOPICS = ("sports", "travel", "food", "cars", "fashion", "games", "garden", "money")
_SHOWN = 300


class Ads(NamedTuple):
    """One line for each ad."""

    topics: np.ndarray
    """Shares of `TOPICS`, adding up to 1."""
    video: np.ndarray
    history: np.ndarray
    """Log-odds of the clicks so far, smoothed."""


class World(NamedTuple):
    """Everything, the truth included."""

    ads: Ads
    appeal: np.ndarray
    """Of each ad; no model sees it, only the history that comes of it."""
    interests: np.ndarray
    """Of each user, adding up to 1."""


def make_world(seed: int = 1) -> World:
    """The ads and the users."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(len(TOPICS), 0.35), ADS)
    video = rng.random(ADS) < 0.4
    appeal = rng.normal(0, 0.7, ADS)
    interests = rng.dirichlet(np.full(len(TOPICS), 0.4), USERS)
    ads = Ads(topics, video, np.zeros(ADS))
    world = World(ads, appeal, interests)
    everybody = rng.integers(0, USERS, 40)
    mobile = rng.random(40) < 0.6
    rates = np.mean(
        [click_rate(world, u, m, np.arange(ADS)) for u, m in zip(everybody, mobile, strict=True)],
        axis=0,
    )
    clicks = rng.binomial(_SHOWN, rates)
    history = np.log((clicks + 1) / (_SHOWN + 100 - clicks))
    return world._replace(ads=ads._replace(history=history))


def click_rate(world: World, user: int, mobile: bool, ads: np.ndarray) -> np.ndarray:
    """The truth: how probable it is that the user clicks each of these ads."""
    interest = world.interests[user]
    match = world.ads.topics[ads] @ interest
    bored = interest.max() * (world.ads.topics[ads] @ (interest < 0.1))
    video = world.ads.video[ads] * (0.9 if mobile else -0.7)
    logit = -6.2 + world.appeal[ads] + 4.5 * match - 1.5 * bored + video
    return 1 / (1 + np.exp(-logit))


def make_requests(n: int, seed: int) -> list[dict[str, Any]]:
    """`n` page views."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, USERS, n).tolist()
    pages = rng.choice(TOPICS, n).tolist()
    mobile = (rng.random(n) < 0.6).tolist()
    return [
        {"data": {"user": name(user), "page": page, "mobile": is_mobile}, "key": name(user)}
        for user, page, is_mobile in zip(users, pages, mobile, strict=True)
    ]


def name(user: int) -> str:
    """How requests call a user."""
    return f"u-{user:04d}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes up page views, one JSON row a line.")
    parser.add_argument("--n", type=int, default=1000, help="how many rows")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    for row in make_requests(options.n, options.seed):
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
