"""Find the requests on which two models differ most: those most worth labelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import Pairs
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.statistics import Normaliser, most_disagreeing

COUNT_MAX = 100_000


class _Request(msgspec.Struct, gc=False):
    id: str
    data: msgspec.Raw
    key: str | None = None


class _Score(msgspec.Struct, gc=False):
    result: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Found:
    """Rows of the pairs, worst first, and the distance of the ranks (NaN: classes differ)."""

    rows: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]


def find_disagreements(
    pairs: Pairs, count: int, normalisers: tuple[Normaliser, Normaliser] | None
) -> Found:
    """Find disagreements by the distance of normalised ranks, if there are numbers.

    For classes, take every kind of disagreement in turn, so that few labels cover all kinds.
    """
    if normalisers is not None:
        rows = np.flatnonzero(np.isfinite(pairs.first) & np.isfinite(pairs.second))
        worst = most_disagreeing(
            pairs.first[rows], pairs.second[rows], min(count, COUNT_MAX), normalisers=normalisers
        )
        apart = np.abs(worst.difference)
        return Found(rows[worst.rows][apart > 0], apart[apart > 0])
    rows = _in_turn(pairs, min(count, COUNT_MAX))
    return Found(rows, np.full(len(rows), np.nan))


def _in_turn(pairs: Pairs, count: int) -> npt.NDArray[np.int64]:
    a, b = pairs.first_label, pairs.second_label
    differs = np.flatnonzero((a != b) & ~np.isnan(a) & ~np.isnan(b))
    if not len(differs):
        return differs.astype(np.int64)
    cells = np.stack([a[differs], b[differs]], axis=1)
    _, kind, sizes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    turn = np.empty(len(differs), np.int64)
    for number in range(len(sizes)):
        here = kind == number
        turn[here] = np.arange(int(here.sum()))
    order = np.lexsort((sizes[kind], turn))
    return differs[order[:count]].astype(np.int64)


def read_disagreements(
    recorded: Recorded, pairs: Pairs, found: Found, names: tuple[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield id, key, data and both answers of each disagreement that is still in the log.

    Their JSON is unchanged, in `msgspec.Raw`: encode with msgspec. Raises SystemFaults.
    """
    requests = msgspec.json.Decoder(_Request)
    scores = msgspec.json.Decoder(_Score)
    for row, apart in zip(found.rows.tolist(), found.distance.tolist(), strict=True):
        line = pairs.request_line(recorded, row)
        lines = pairs.score_lines(recorded, row)
        if line is None:
            continue
        request = requests.decode(line)
        answers = [scores.decode(one).result for one in lines if one is not None]
        if len(answers) < len(names):
            continue
        yield {
            "id": request.id,
            "key": request.key,
            "time_ns": int(pairs.time_ns[row]),
            "rank_distance": None if np.isnan(apart) else round(apart, 6),
            "data": request.data,
            "answers": dict(zip(names, answers, strict=True)),
        }
