"""Generates send times: nanoseconds since the start, without end. Pure except for given chance."""

from __future__ import annotations

import random
from collections.abc import Iterator

from rdv.loadgen.errors import InvalidLoad

RATE_MAX = 1_000_000.0


def constant(rate: float) -> Iterator[int]:
    """Yield one time every 1/rate seconds, without drift. Raises InvalidLoad at once."""
    _check(rate)
    return (int(number * 1e9 / rate) for number in _counting())


def poisson(rate: float, seed: int) -> Iterator[int]:
    """Yield times as independent clients arrive: exponential gaps with a mean of 1/rate seconds."""
    _check(rate)
    return _exponential(rate, random.Random(seed))  # noqa: S311 - not for secrets


def _check(rate: float) -> None:
    if not 0 < rate <= RATE_MAX:
        raise InvalidLoad("rate", f"{rate} is not between 0 and {RATE_MAX:.0f} a second")


def _counting() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _exponential(rate: float, chance: random.Random) -> Iterator[int]:
    at = 0.0
    while True:
        yield int(at * 1e9)
        at += chance.expovariate(rate)
