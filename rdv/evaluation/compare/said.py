"""Read what one model answered to each request, from the lines of its scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from rdv.evaluation.coded import NONE, Names
from rdv.evaluation.compare.answers import Answers
from rdv.evaluation.joined import NOWHERE, RESULT, ROW_BITS, Joined
from rdv.evaluation.reading.chunk import Chunk, decode_chunk

_ROW_MASK = 2**ROW_BITS - 1


class _Line(msgspec.Struct, gc=False):
    """The fields of a score that are needed here."""

    version: str = ""
    evaluation_ms: float = 0.0
    result: msgspec.Raw | UnsetType = UNSET


@dataclass(frozen=True)
class Said:
    """Columns (n,) that match the joined ones. NaN where the model has given no result."""

    outcome: npt.NDArray[np.uint8]
    label: npt.NDArray[np.float64]
    """The class, as a code."""
    number: npt.NDArray[np.float64]
    arrival_ms: npt.NDArray[np.float64]
    evaluation_ms: npt.NDArray[np.float64]
    version: npt.NDArray[np.int32]
    """The version, as a code of the reader's `versions`."""

    @property
    def is_result(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.outcome == RESULT)


class Reader:
    """Reads the scores of one batch after another. For one thread at a time."""

    def __init__(self, answers: Answers) -> None:
        self.versions = Names()
        self._answers = answers
        decoder: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(_Line)
        self._decode_lines, self._decode = decoder.decode_lines, decoder.decode

    def read(self, joined: Joined, model: str) -> Said:
        """Return a model's answers; a model that is not in this batch is silent. Raises
        TooManyValues.
        """
        count = len(joined)
        label, number, evaluation_ms = (np.full(count, np.nan) for _ in range(3))
        version = np.full(count, NONE, np.int32)
        if model not in joined.models:
            silent = np.zeros(count, np.uint8)
            return Said(silent, label, number, np.full(count, np.nan), evaluation_ms, version)
        row = joined.models.index(model)
        outcome = joined.outcome[row]
        at = np.where(outcome == RESULT, joined.score_at[row], NOWHERE)
        for rows, places, chunk in _by_chunk(joined, at):
            lines = decode_chunk(chunk, self._decode_lines, self._decode)
            for n, place in zip(rows.tolist(), places.tolist(), strict=True):
                line = lines[place]
                if line is None or line.result is UNSET:
                    continue
                label[n], number[n] = self._answers.of_json(bytes(line.result))
                evaluation_ms[n] = line.evaluation_ms
                version[n] = self.versions[line.version]
        arrival_ms = np.where(outcome == RESULT, joined.arrival_ms[row], np.nan)
        return Said(outcome, label, number, arrival_ms, evaluation_ms, version)


def _by_chunk(
    joined: Joined, at: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any], Chunk]]:
    """Yield (rows of the join, rows of the chunk, chunk) for every chunk that is named."""
    rows = np.flatnonzero(at != NOWHERE)
    numbers = at[rows] >> ROW_BITS
    for number in np.unique(numbers).tolist():
        here = rows[numbers == number]
        yield here, at[here] & _ROW_MASK, joined.chunks[number]
