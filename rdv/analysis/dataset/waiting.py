"""Messages that wait until their request is read: scores and results are both kept like this."""

from __future__ import annotations

from itertools import repeat
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import Chunk
from rdv.analysis.dataset.joined import ROW_BITS


class Batch(Protocol):
    """Messages of one chunk, with the places of their lines and their append times."""

    @property
    def ids(self) -> list[str]: ...
    @property
    def places(self) -> npt.NDArray[np.int64]: ...
    @property
    def times_ns(self) -> npt.NDArray[np.int64]: ...
    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return these messages."""


_B = TypeVar("_B", bound=Batch)


class Waiting(Generic[_B]):
    """Keeps batches and the chunks of their lines. For one thread at a time."""

    def __init__(self) -> None:
        self._kept: list[_B] = []
        self.chunks: dict[int, Chunk] = {}

    def add(self, batch: _B, number: int, chunk: Chunk) -> None:
        self._kept.append(batch)
        self.chunks[number] = chunk

    def matched(
        self, row_of: dict[str, int], until_ns: npt.NDArray[np.int64] | None = None
    ) -> list[tuple[_B, npt.NDArray[np.int64]]]:
        """Return the messages of these requests with their rows; keep the rest.

        With `until_ns`, one for each row, messages that were appended later are dropped.
        """
        found = self._matched(row_of)
        if until_ns is None:
            return found
        in_time = ((kept, rows, kept.times_ns <= until_ns[rows]) for kept, rows in found)
        return [
            (kept, rows) if there.all() else (kept.take(np.flatnonzero(there)), rows[there])
            for kept, rows, there in in_time
        ]

    def _matched(self, row_of: dict[str, int]) -> list[tuple[_B, npt.NDArray[np.int64]]]:
        matched, left = [], []
        for kept in self._kept:
            rows = np.fromiter(map(row_of.get, kept.ids, repeat(-1)), np.int64, len(kept.ids))
            there = rows >= 0
            if there.all():
                matched.append((kept, rows))
                continue
            left.append(kept.take(np.flatnonzero(~there)))
            if there.any():
                matched.append((kept.take(np.flatnonzero(there)), rows[there]))
        self._kept = left
        return matched

    def drop(self, until_ns: int | None) -> list[_B]:
        """Drop and return what was appended before `until_ns` (None: everything)."""
        left, dropped = [], []
        for kept in self._kept:
            stays = kept.times_ns >= (2**63 - 1 if until_ns is None else until_ns)
            dropped.append(kept.take(np.flatnonzero(~stays)))
            if stays.any():
                left.append(kept.take(np.flatnonzero(stays)))
        self._kept = left
        wanted = {int(number) for kept in left for number in np.unique(kept.places >> ROW_BITS)}
        self.chunks = {n: chunk for n, chunk in self.chunks.items() if n in wanted}
        return dropped
