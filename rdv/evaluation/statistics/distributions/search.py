"""Invert an increasing function by bisection."""

from __future__ import annotations

from collections.abc import Callable

_STEPS = 200


def invert(increasing: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return the x in [low, high] at which `increasing` reaches `target`, to the last digits."""
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if increasing(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
