"""The pairs are the requests that both models have scored, with what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.evaluation.coded import Coded, Names, concat
from rdv.evaluation.compare.said import Said
from rdv.evaluation.joined import NOWHERE, ROW_BITS, Joined
from rdv.evaluation.notes import Notes
from rdv.evaluation.places import INPUT, SCORES, Recorded
from rdv.evaluation.reading.source import Source

PAIRS_MAX = 500_000
"""The maximum number of pairs, at about 120 bytes each; more are thinned out evenly."""

_ROW_MASK = 2**ROW_BITS - 1
_SEPARATOR = "\0"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lines:
    """Where one line of each row is recorded: partition and offset."""

    partition: Coded
    offset: npt.NDArray[np.int64]

    def read(self, recorded: Recorded, stream: str, row: int) -> bytes | None:
        """Return the line of a row; None if it is gone."""
        name = self.partition.at(row)
        opened = recorded.stream(stream)
        if name is None or opened is None:
            return None
        topic, _, number = name.rpartition(_SEPARATOR)
        offset = int(self.offset[row])
        chunks = Source(opened, topic, int(number)).chunks(offset, offset + 1, Notes())
        return next((chunk.line(0) for chunk in chunks if len(chunk)), None)


@dataclass(frozen=True)
class Pairs:
    """Pairs in order of time. `canary` columns are NaN without a canary, or where it has no
    result.
    """

    time_ns: npt.NDArray[np.int64]
    first_label: Floats
    second_label: Floats
    first: Floats
    second: Floats
    """`first` and `second` are numbers."""
    canary_label: Floats
    canary: Floats
    request: Lines
    first_score: Lines
    second_score: Lines

    def __len__(self) -> int:
        return len(self.time_ns)

    def request_line(self, recorded: Recorded, row: int) -> bytes | None:
        return self.request.read(recorded, INPUT, row)

    def score_lines(self, recorded: Recorded, row: int) -> tuple[bytes | None, bytes | None]:
        """Return the score lines of the first and the second model."""
        return (
            self.first_score.read(recorded, SCORES, row),
            self.second_score.read(recorded, SCORES, row),
        )


class Collector:
    """Keeps every `thinned`-th pair of each batch. For one thread at a time."""

    def __init__(self, first: str, second: str, thinned: int) -> None:
        self._models = first, second
        self._thinned = thinned
        self._parts: list[dict[str, Any]] = []

    def add(self, joined: Joined, said: tuple[Said, Said], canary: Said | None) -> None:
        first, second = said
        rows = np.flatnonzero(first.is_result & second.is_result)[:: self._thinned]
        if not len(rows):
            return
        nothing = np.full(len(rows), np.nan)
        self._parts.append(
            {
                "time_ns": joined.append_ns[rows],
                "first_label": first.label[rows],
                "second_label": second.label[rows],
                "first": first.number[rows],
                "second": second.number[rows],
                "canary_label": nothing if canary is None else canary.label[rows],
                "canary": nothing if canary is None else canary.number[rows],
                "request": _lines(joined, joined.request_at[rows]),
                "first_score": _lines(joined, self._places(joined, self._models[0], rows)),
                "second_score": _lines(joined, self._places(joined, self._models[1], rows)),
            }
        )

    @staticmethod
    def _places(joined: Joined, model: str, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return np.asarray(joined.score_at[joined.models.index(model), rows])

    def pairs(self) -> Pairs | None:
        """Return all pairs; None if there are none."""
        if not self._parts:
            return None
        columns = {name: [part[name] for part in self._parts] for name in self._parts[0]}
        return Pairs(**{name: _joined(parts) for name, parts in columns.items()})


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Lines):
        offset = np.concatenate([part.offset for part in parts])
        return Lines(concat([part.partition for part in parts]), offset)
    return np.concatenate(parts)


def _lines(joined: Joined, at: npt.NDArray[np.int64]) -> Lines:
    names = Names()
    partition = np.full(len(at), -1, np.int32)
    offset = np.zeros(len(at), np.int64)
    numbers = np.where(at == NOWHERE, NOWHERE, at >> ROW_BITS)
    for number in np.unique(numbers[numbers != NOWHERE]).tolist():
        chunk, here = joined.chunks[number], numbers == number
        partition[here] = names[f"{chunk.topic}{_SEPARATOR}{chunk.partition}"]
        offset[here] = chunk.offsets[at[here] & _ROW_MASK]
    return Lines(Coded(partition, names.names()), offset)
