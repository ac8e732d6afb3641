"""The bootstrap over keys: a metric at random weights of the same requests.

Every key is drawn a Poisson(1) number of times (Hanley & MacGibbon, Computer Methods and Programs
in Biomedicine 83, 2006). Nothing is sorted again, so that half a million requests take a few
milliseconds for each replicate. Seeded: the same data give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import numpy as np

from rdv.analysis.metrics.metric import Reweighted
from rdv.analysis.metrics.units import Units
from rdv.analysis.statistics.sample import FloatArray

REPLICATES = 400
SEED = 20_060_901
_DRAWS = 1 << 16

Gaps = Callable[[FloatArray], FloatArray]


def replicates(
    statistics: Sequence[Reweighted], weights: FloatArray, units: Units, count: int = REPLICATES
) -> list[FloatArray]:
    """Return each statistic at `count` random weights of the requests, NaN where it has no value.

    All statistics see the same weights. Only the rows that matter get theirs; sums go by key.
    """
    places = [units.place[one.rows] for one in statistics]
    heavy = [weights[one.rows] for one in statistics]
    sums = [[units.sums(np.where(g, weights, 0.0)) for g in one.groups] for one in statistics]
    found = [np.empty(count) for _ in statistics]
    for number, times in enumerate(_draws(units.count, count)):
        for at, one in enumerate(statistics):
            # Not `@`, whose threads cost more than the sum does on a machine that is busy.
            totals = [float(np.einsum("k,k->", group, times)) for group in sums[at]]
            found[at][number] = one.at(heavy[at] * times[places[at]], totals)
    return found


def replicated_gaps(
    gaps: Sequence[Gaps], weights: FloatArray, units: Units, count: int = REPLICATES
) -> list[FloatArray]:
    """Return the gaps of each model at `count` random weights: an array (count, bins) for each."""
    found: list[list[FloatArray]] = [[] for _ in gaps]
    for times in _draws(units.count, count):
        drawn = weights * times[units.place]
        if drawn.any():
            for values, one in zip(found, gaps, strict=True):
                values.append(one(drawn))
    return [np.stack(values) for values in found]


def _draws(keys: int, count: int) -> Iterator[FloatArray]:
    """Yield how often each key is drawn, for each replicate."""
    chance = np.random.default_rng(SEED)
    table = _poisson_table()
    for _ in range(count):
        yield table[chance.integers(0, _DRAWS, keys, dtype=np.uint16)]


def _poisson_table() -> FloatArray:
    """Return a table in which Poisson(1) numbers are as frequent as they are likely."""
    chances = [math.exp(-1) / math.factorial(times) for times in range(9)]
    ends = [round(_DRAWS * share) for share in accumulate(chances)]
    ends[-1] = _DRAWS
    return np.repeat(np.arange(9, dtype=np.float64), np.diff(ends, prepend=0))
