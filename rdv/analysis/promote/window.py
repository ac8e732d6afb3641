"""Count by key what a watched champion does: the requests of one key are alike. Pure.

A share of requests is held against a limit. Its error is that of as many keys as there are, and not
of as many requests: a burst of one key is one event, however many requests it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from rdv.analysis.metrics import Cohort

Unit = str | int
"""A key, or what stands for one: a request without a key is a unit of its own."""
Floats = npt.NDArray[np.float64]

BLOCK = 1000
"""How many requests a block has. A window has two, and so at most twice as many keys."""


class Window:
    """What is counted in the last two blocks, by key. For one thread at a time."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = tuple(kinds)
        self._blocks: list[dict[Unit, Counter[str]]] = [{}]
        self._totals: list[Counter[str]] = [Counter()]
        self._number = 0

    def add(self, unit: Unit | None, kinds: Mapping[str, bool]) -> None:
        """Add one request of a key, which belongs to the kinds that are true."""
        if self._totals[-1][""] >= BLOCK:
            self._blocks, self._totals = [self._blocks[-1], {}], [self._totals[-1], Counter()]
        if unit is None:
            self._number += 1
            unit = f"\0{self._number}"
        for counts in (self._totals[-1], self._blocks[-1].setdefault(unit, Counter())):
            counts[""] += 1
            for kind in self._kinds:
                if kinds[kind]:
                    counts[kind] += 1

    @property
    def requests(self) -> int:
        return sum(counts[""] for counts in self._totals)

    @property
    def keys(self) -> int:
        return len(set[Unit]().union(*self._blocks))

    def count(self, kind: str) -> int:
        """Return how many requests are of a kind."""
        return sum(counts[kind] for counts in self._totals)

    def by_key(self, kind: str) -> tuple[Floats, Floats]:
        """Return for each key how many of its requests are of a kind, and how many it has."""
        units: dict[Unit, list[int]] = {}
        for block in self._blocks:
            for unit, counts in block.items():
                found = units.setdefault(unit, [0, 0])
                found[0] += counts.get(kind, 0)  # quicker than a missing key of a Counter
                found[1] += counts[""]
        columns = np.array(list(units.values()), np.float64).reshape(-1, 2).T
        return columns[0], columns[1]


def independent(counts: Floats, sizes: Floats) -> tuple[float, float]:
    """Return a count and a total of independent requests that tell as much as these, by key.

    Both are divided by the design effect of their share (Kish, Survey Sampling, 1965): how many
    times its variance by key is that of independent requests. Each key's part of the variance is
    corrected for the key's own weight (`Cohort.pulls`), without which a key that has most of the
    requests would hide its own burst. Where all requests are of the kind, so that nothing varies,
    those of a key count as one.
    """
    total, cohort = float(sizes.sum()), Cohort.of(counts, sizes)
    share, pulls = cohort.mean, cohort.pulls()
    alike = total / pulls.effective  # the design effect if all requests of a key are alike
    effect = alike
    if 0 < share < 1:
        seen = pulls.error**2 * total / (share * (1 - share))
        # A few keys may agree by chance, so that their variance seems small.
        effect = max(seen, 1 + (alike - 1) / pulls.effective)
    effect = min(max(effect, 1.0), total)
    return float(counts.sum()) / effect, total / effect
