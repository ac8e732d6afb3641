"""The joined columns: one row for each request, with each model's report and its arrival.

A column of repeated names is stored as codes and the names that they stand for (`Names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.analysis.dataset.arrays import integers
from rdv.analysis.dataset.chunk import Chunk
from rdv.rendezvous.messages import (
    Outcome,
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
)

NONE = -1
"""The code of a missing name."""
NEVER_US = 2**31 - 1
"""The arrival of a model that has not reported."""
NOWHERE = -1
"""The place of a line that does not exist."""
ABSENT, RESULT, BEHIND, EXPIRED, NOT_SAMPLED, ERROR, BAD_INPUT, UNAVAILABLE = range(8)
OUTCOMES: tuple[Outcome | None, ...] = (
    None, "result", "behind", "expired", "not sampled", "error", "bad input", "unavailable",
)  # fmt: skip
OUTCOME_CODES = {name: code for code, name in enumerate(OUTCOMES)}
NO_RESULT, PREFERRED, FALLBACK, DEFAULT = range(4)
KINDS = (None, "preferred", "fallback", "default")
KIND_CODES = {name: code for code, name in enumerate(KINDS)}
UNANSWERED, SERVER, PROXY = range(3)
ANSWERED_BY = (None, "server", "proxy")
ROW_BITS = 32
ROW_MASK = 2**ROW_BITS - 1
_MISSING: dict[str, Any] = {
    "outcome": ABSENT,
    "arrival_us": NEVER_US,
    "is_exact": False,
    "order": 0,
    "score_at": NOWHERE,
    "value": np.nan,
}

_Name = TypeVar("_Name", bound=str)


class Names(dict[Any, int]):
    """Codes by name; a new name gets the next code. The code of None is `NONE`."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__({None: NONE})
        for name in names:
            self[name]

    def __missing__(self, name: Any) -> int:
        code = self[name] = len(self) - 1
        return code

    def coded(self, values: Sequence[Any]) -> Coded:
        """Return a column of these values."""
        codes = np.fromiter(map(self.__getitem__, values), np.int32, len(values))
        return Coded(codes, self.names())

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self if name is not None)


@dataclass(frozen=True)
class Coded:
    """A column of codes: `codes[row]` is an index into `names`, or NONE."""

    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code == NONE else self.names[code]

    def take(self, rows: Any) -> Coded:
        return Coded(self.codes[rows], self.names)

    def counts(self) -> dict[str, int]:
        """Return how often each name occurs, for names that do."""
        return count_codes(self.codes[self.codes != NONE], self.names)

    def recoded(self, names: Names) -> npt.NDArray[np.int32]:
        """Return the codes of the same column for other names."""
        table = np.array([*(names[name] for name in self.names), NONE], np.int32)
        return table[self.codes]


def concat(columns: Sequence[Coded]) -> Coded:
    """Concatenate several columns."""
    names = Names()
    codes = [column.recoded(names) for column in columns]
    return Coded(np.concatenate(codes) if codes else np.empty(0, np.int32), names.names())


def count_codes(codes: npt.NDArray[Any], names: Sequence[_Name | None]) -> dict[_Name, int]:
    """Return how often each name occurs, for names that do; a code is an index into `names`."""
    counts = np.bincount(codes, minlength=len(names)).tolist()
    return {name: n for name, n in zip(names, counts, strict=True) if n and name is not None}


def place(chunk_number: int, row: Any) -> Any:
    """Return the place of a line: the number of its chunk, and its row in the chunk."""
    return (chunk_number << ROW_BITS) | row


@dataclass(frozen=True)
class Joined:
    """Requests by their append time. Immutable; arrays must not be written to.

    There are n requests and m models. Per-model arrays have the shape (m, n):
    `outcome[models.index("gbm")]` is one model's column. Result columns are what the client
    received: the proxy's own answer if there is one, else the server's.
    """

    models: tuple[str, ...]
    ids: npt.NDArray[np.bytes_]
    time_ns: npt.NDArray[np.int64]
    """Wall time of the proxy when the request had come in."""
    append_ns: npt.NDArray[np.int64]
    """Wall time of the request's append."""
    host: Coded
    proxy: Coded
    """The return address."""
    key: pa.Array[Any]
    """The key as large_string; null without one."""
    cohort: Coded
    asked: Coded
    """The schedule that the request asked for: a name, or JSON; none for the live one."""
    deadline_ms: npt.NDArray[np.float64]
    """The limit that the proxy has set: the client's own, or the SLA that was live. NaN: none."""

    kind: npt.NDArray[np.uint8]
    """One of NO_RESULT, PREFERRED, FALLBACK and DEFAULT."""
    model: Coded
    """The model that answered; combined answers are "a+b"."""
    version: Coded
    step: npt.NDArray[np.int16]
    waited_ms: npt.NDArray[np.float64]
    """NaN without a result."""
    label: Coded
    """Name and hash of the schedule that decided."""
    answered_by: npt.NDArray[np.uint8]
    """One of UNANSWERED, SERVER and PROXY."""

    outcome: npt.NDArray[np.uint8]
    """(m, n): one of ABSENT, RESULT, BEHIND, EXPIRED, NOT_SAMPLED, ERROR and BAD_INPUT."""
    arrival_us: npt.NDArray[np.int32]
    """(m, n): from the start of the request, on the server's clock; NEVER_US if it never arrived.
    Exact where `is_exact`, else estimated from the append time of the score (see `calibrate`).
    """
    is_exact: npt.NDArray[np.bool_]
    """(m, n): whether the arrival is recorded in the result, to the microsecond."""
    order: npt.NDArray[np.uint16]
    """(m, n): breaks ties between arrivals of one request, in the order of the server's log."""

    request_at: npt.NDArray[np.int64]
    result_at: npt.NDArray[np.int64]
    """The place of the server's result, also where a proxy has answered by itself."""
    own_at: npt.NDArray[np.int64]
    score_at: npt.NDArray[np.int64]
    """(m, n): places of lines, or NOWHERE."""
    chunks: Mapping[int, Chunk]

    value: npt.NDArray[np.float64] | None = None
    """(m, n): the value of each answer (`values.Extract`), NaN without one; None: not requested."""
    given: npt.NDArray[np.float64] | None = None
    """The value of the answer that the client received."""
    propensity: npt.NDArray[np.float64] | None = None
    """The probability of the schedule that the request got, where it was drawn; NaN elsewhere."""
    names_models: npt.NDArray[np.bool_] | None = None
    """Whether the client has chosen the models; the others are NOT_SAMPLED."""
    figures: npt.NDArray[np.float32] | None = None
    """(3, m, n): `queue_ms`, `evaluation_ms` and `batch_size` of each report, NaN without one;
    None: not requested."""
    code: Coded | None = None
    """Why the answer is not the preferred one (`rdv.codes.RESULT_CODES`); None: not requested."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def arrival_ms(self) -> npt.NDArray[np.float64]:
        """(m, n): arrivals in milliseconds; NaN for never."""
        return np.where(self.arrival_us == NEVER_US, np.nan, self.arrival_us / 1000)

    def id(self, row: int) -> str:
        return bytes(self.ids[row]).decode()

    def line(self, at: Any) -> bytes | None:
        """Return the line at a place; None for NOWHERE."""
        at = int(at)
        return None if at == NOWHERE else self.chunks[at >> ROW_BITS].line(at & ROW_MASK)

    def request(self, row: int) -> Request:
        """Return the whole request."""
        line = self.line(self.request_at[row])
        assert line is not None
        return decode_request(line)

    def server_result(self, row: int) -> Result | None:
        """Return the server's whole result, whether or not the client received it."""
        line = self.line(self.result_at[row])
        return None if line is None else decode_result(line)

    def own_answer(self, row: int) -> Result | None:
        """Return the answer that the proxy gave by itself, if it did."""
        line = self.line(self.own_at[row])
        return None if line is None else decode_result(line)

    def score(self, model: int, row: int) -> Score | None:
        """Return a model's whole report, if there is one."""
        line = self.line(self.score_at[model, row])
        return None if line is None else decode_score(line)

    def take(self, rows: Any) -> Joined:
        """Return these rows: a slice, a mask or numbers."""
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Coded):
                changes[field.name] = value.take(rows)
            elif isinstance(value, np.ndarray):
                changes[field.name] = value[..., rows]
        numbers = np.arange(len(self))[rows]
        changes["key"] = self.key.take(integers(numbers))
        return replace(self, **changes)


def concat_joined(batches: Sequence[Joined]) -> Joined:
    """Concatenate batches of one join. Raises ValueError if there are none."""
    if not batches:
        raise ValueError("no batches")
    if len(batches) == 1:
        return batches[0]
    names = Names(name for batch in batches for name in batch.models)
    models = names.names()
    changes: dict[str, Any] = {"models": models, "chunks": {}}
    for batch in batches:
        changes["chunks"].update(batch.chunks)
    for field in fields(Joined):
        columns = [getattr(batch, field.name) for batch in batches]
        first = columns[0]
        if field.name == "figures" and first is not None:
            aligned_parts = (
                np.stack([_aligned(part, batch.models, names, np.nan) for part in column])
                for column, batch in zip(columns, batches, strict=True)
            )
            changes["figures"] = np.concatenate(list(aligned_parts), axis=2)
            continue
        if field.name == "key":
            changes["key"] = pa.concat_arrays(columns)
        elif isinstance(first, Coded):
            changes[field.name] = concat(columns)
        elif isinstance(first, np.ndarray) and first.ndim == 1:
            changes[field.name] = np.concatenate(columns)
        elif isinstance(first, np.ndarray):
            missing = _MISSING[field.name]
            aligned = (
                _aligned(column, batch.models, names, missing)
                for column, batch in zip(columns, batches, strict=True)
            )
            changes[field.name] = np.concatenate(list(aligned), axis=1)
    return replace(batches[0], **changes)


def _aligned(
    column: npt.NDArray[Any], models: tuple[str, ...], names: Names, missing: Any
) -> npt.NDArray[Any]:
    """Return a batch's rows of models in the order of all models."""
    if models == names.names():
        return column
    whole = np.full((len(names) - 1, column.shape[1]), missing, column.dtype)
    for row, model in enumerate(models):
        whole[names[model]] = column[row]
    return whole
