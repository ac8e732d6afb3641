"""Find the requests on which two models differ most: those most worth labelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.normalisation import Normaliser
from rdv.evaluation.statistics.sample import FloatArray, IntArray, as_pair, check_count


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """Rows of the given arrays, worst first, and the ranks (0 to 1) that each model gives.

    `difference` is first minus second: positive where the first ranks the request higher.
    """

    rows: IntArray
    first_ranks: FloatArray
    second_ranks: FloatArray

    @property
    def difference(self) -> FloatArray:
        return self.first_ranks - self.second_ranks


def most_disagreeing(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    count: int = 100,
    *,
    normalisers: tuple[Normaliser, Normaliser] | None = None,
) -> Disagreement:
    """Return the `count` requests with the largest distance of ranks after quantile normalisation.

    Equal distances keep the order of the requests. Give `normalisers` (made from the whole log) if
    the arrays are one chunk of many; then the worst of all chunks are among the chunks' worst.
    Raises InvalidSample.
    """
    check_count("count", count)
    a, b = as_pair(first, second)
    source_a, source_b = normalisers or (Normaliser.of(a), Normaliser.of(b))
    ranks_a, ranks_b = source_a.ranks(a), source_b.ranks(b)
    worst = np.argsort(-np.abs(ranks_a - ranks_b), kind="stable")[:count].astype(np.int64)
    return Disagreement(worst, ranks_a[worst], ranks_b[worst])
