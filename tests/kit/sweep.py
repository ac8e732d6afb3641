"""Choose how much of a long sweep a run checks: a part of it, or everything in `make soak`.

Modules that use this have the mark `sweep`, by which `make soak` finds them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

IS_FULL = float(os.environ.get("RDV_EXAMPLES", "1")) > 1
"""Whether everything is checked."""

T = TypeVar("T")


def one_in(every: int) -> int:
    """Return `every`, or 1 where everything is checked."""
    return 1 if IS_FULL else every


def part_of(items: Iterable[T], every: int, start: int = 0) -> Iterator[T]:
    """Yield one of each `every` items, or all of them where everything is checked.

    `start` is the number of the first. Take a number `every` without a factor in common with the
    period of the items: then the part has items of every kind.
    """
    step = one_in(every)
    return (item for number, item in enumerate(items) if number % step == start % step)
