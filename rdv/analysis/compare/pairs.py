"""The answers of two models to the same requests, read from the lines of their scores.

An answer has two sides: the class that it names, and its number. `{"score": 0.93, "action":
"block"}` is the class "block" and the number 0.93. One of them is judged by the outcomes: which,
says the `Reading`; with `on`, only that field counts. What is kept of the requests that
both models have scored is bounded by `PAIRS_MAX`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from rdv.analysis.dataset.chunk import Chunk, decode_chunk
from rdv.analysis.dataset.joined import (
    NONE,
    NOWHERE,
    RESULT,
    ROW_BITS,
    ROW_MASK,
    Coded,
    Joined,
    Names,
    concat,
)
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import (
    EQUAL_FIELDS,
    NUMBER_FIELDS,
    USUAL_FIELDS,
    WHOLE,
    Reading,
    first_of,
    number_of,
)
from rdv.analysis.dataset.source import Source
from rdv.analysis.dataset.values import Extract, TextCache, extract_of
from rdv.analysis.digests.hour import Column
from rdv.analysis.digests.past import Past, PastColumn
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.topology import INPUT, SCORES

Both = tuple[float, float]
"""(the code of the class, the number); NaN where there is none."""

_NEITHER: Both = (math.nan, math.nan)
PAIRS_MAX = 500_000
"""The maximum number of pairs, at about 120 bytes each; more are thinned out evenly."""
_SEPARATOR = "\0"
Floats = npt.NDArray[np.float64]


class Answers:
    """Reads answers. For one thread at a time. Raises TooManyValues.

    `reading` says which side is judged by outcomes. Unless `on` names the only field that counts,
    the other side is read as well. `measured` reads what else is measured.
    """

    def __init__(
        self, reading: Reading, on: str | None = None, measured: Extract | None = None
    ) -> None:
        self.judged = extract_of(reading)
        self.measured = measured
        """Reads what another metric takes; None if that is what is judged."""
        self._has_both = on is None
        self._labels = (
            self.judged if not self.judged.is_number else Extract(replace(reading, kind="class"))
        )
        self.of_json = TextCache(self._of_text).__getitem__
        """Returns the class and number of an answer as it is in the log."""

    def past(self, past: Past, model: str, *, is_number: bool) -> PastColumn:
        """Return the classes or the numbers of a model's answers in the past, in the same codes."""
        judged = self.judged.reading.answer
        names: tuple[str, ...]
        if is_number == self.judged.is_number:
            names = USUAL_FIELDS if judged is None else (judged,)
        else:
            names = NUMBER_FIELDS if is_number else EQUAL_FIELDS

        def read(column: Column) -> Floats:
            if is_number:
                return column.numeric()
            codes = [self._labels.of_value(name) for name in column.classes]
            numbers = [self._labels.of_value(number) for number in column.numeric().tolist()]
            return np.array([*np.repeat(codes, list(column.classes.values())), *numbers])

        return past.answers(model, (*names, WHOLE), read)

    @property
    def unreadable(self) -> int:
        """The number of answers that cannot be read, equal ones once."""
        return self.judged.unreadable

    def name(self, code: float) -> str:
        """Return the name of a class as JSON."""
        return self._labels.name(code)

    def _of_text(self, text: bytes) -> Both:
        try:
            answer = read_recorded(text)
        except UnusableJson:
            self.judged.unreadable += 1
            return _NEITHER
        value = self.judged.of_answer(answer)
        if not (self._has_both and isinstance(answer, dict)):
            return (math.nan, value) if self.judged.is_number else (value, math.nan)
        if self.judged.is_number:
            return self._labels.of_value(first_of(answer, EQUAL_FIELDS)), value
        return value, number_of(first_of(answer, NUMBER_FIELDS))


class _Line(msgspec.Struct, gc=False):
    """The fields of a score that are needed here."""

    version: str = ""
    evaluation_ms: float = 0.0
    result: msgspec.Raw | UnsetType = UNSET


@dataclass(frozen=True)
class ModelReports:
    """Columns (n,) that match the joined ones. NaN where the model has given no result."""

    outcome: npt.NDArray[np.uint8]
    label: npt.NDArray[np.float64]
    """The class, as a code."""
    number: npt.NDArray[np.float64]
    arrival_ms: npt.NDArray[np.float64]
    evaluation_ms: npt.NDArray[np.float64]
    version: npt.NDArray[np.int32]
    """The version, as a code of the reader's `versions`."""
    measured: npt.NDArray[np.float64] | None = None
    """What another metric takes, by the extract of the measure; None if it takes what is judged."""

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

    def read(self, joined: Joined, model: str) -> ModelReports:
        """Return a model's answers; one not in this batch is silent. Raises TooManyValues."""
        count = len(joined)
        label, number, evaluation_ms, measured = (np.full(count, np.nan) for _ in range(4))
        version = np.full(count, NONE, np.int32)
        if model not in joined.models:
            silent, never = np.zeros(count, np.uint8), np.full(count, np.nan)
            return ModelReports(silent, label, number, never, evaluation_ms, version, measured)
        row = joined.models.index(model)
        outcome = joined.outcome[row]
        at = np.where(outcome == RESULT, joined.score_at[row], NOWHERE)
        for rows, places, chunk in _by_chunk(joined, at):
            lines = decode_chunk(chunk, self._decode_lines, self._decode)
            for n, place in zip(rows.tolist(), places.tolist(), strict=True):
                line = lines[place]
                if line is None or line.result is UNSET:
                    continue
                text = bytes(line.result)
                label[n], number[n] = self._answers.of_json(text)
                if self._answers.measured is not None:
                    measured[n] = self._answers.measured.of_json(text)
                evaluation_ms[n] = line.evaluation_ms
                version[n] = self.versions[line.version]
        arrival_ms = np.where(outcome == RESULT, joined.arrival_ms[row], np.nan)
        return ModelReports(outcome, label, number, arrival_ms, evaluation_ms, version, measured)


def _by_chunk(
    joined: Joined, at: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any], Chunk]]:
    """Yield (rows of the join, rows of the chunk, chunk) for every chunk that is named."""
    rows = np.flatnonzero(at != NOWHERE)
    numbers = at[rows] >> ROW_BITS
    for number in np.unique(numbers).tolist():
        here = rows[numbers == number]
        yield here, at[here] & ROW_MASK, joined.chunks[number]


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
    """Pairs in order of time. `canary` columns are NaN where there is no result of a canary."""

    time_ns: npt.NDArray[np.int64]
    keys: Keys
    """Hashes of the requests' keys, of their ids where they have none."""
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
        self.thinned = thinned
        self._parts: list[dict[str, Any]] = []

    def add(
        self,
        joined: Joined,
        reports: tuple[ModelReports, ModelReports],
        canary: ModelReports | None,
    ) -> None:
        first, second = reports
        rows = np.flatnonzero(first.is_result & second.is_result)[:: self.thinned]
        if not len(rows):
            return
        nothing = np.full(len(rows), np.nan)
        places = [joined.models.index(model) for model in self._models]
        self._parts.append(
            {
                "time_ns": joined.append_ns[rows],
                "keys": hashed_keys(joined)[rows],
                "first_label": first.label[rows],
                "second_label": second.label[rows],
                "first": first.number[rows],
                "second": second.number[rows],
                "canary_label": nothing if canary is None else canary.label[rows],
                "canary": nothing if canary is None else canary.number[rows],
                "request": _lines(joined, joined.request_at[rows]),
                "first_score": _lines(joined, joined.score_at[places[0], rows]),
                "second_score": _lines(joined, joined.score_at[places[1], rows]),
            }
        )

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
        offset[here] = chunk.offsets[at[here] & ROW_MASK]
    return Lines(Coded(partition, names.names()), offset)
