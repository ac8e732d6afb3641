"""A chunk is some records of one partition: their unchanged lines, and when each was appended.

Its lines are decoded exactly as a server decodes them; other records are no messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.rendezvous.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
    validate_score,
)

_T = TypeVar("_T")
_request_lines = msgspec.json.Decoder(Request).decode_lines
_score_lines = msgspec.json.Decoder(Score).decode_lines
_result_lines = msgspec.json.Decoder(Result).decode_lines


@dataclass(frozen=True)
class Chunk:
    """`lines` is Arrow large_binary over the mapped file; `times_ns`, `offsets` match its rows."""

    topic: str
    partition: int
    lines: pa.Array[Any]
    times_ns: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def line(self, row: int) -> bytes:
        """Return one record's value."""
        return bytes(self.lines[row].as_buffer())

    def blob(self) -> bytes:
        """Return all lines, concatenated."""
        if not len(self.lines):
            return b""
        bounds = self._bounds()
        return bytes(memoryview(self.lines.buffers()[2])[int(bounds[0]) : int(bounds[-1])])

    def ends(self) -> npt.NDArray[np.int64]:
        """Return where each line ends in `blob()`."""
        bounds = self._bounds()
        ends: npt.NDArray[np.int64] = bounds[1:] - bounds[0]
        return ends

    def _bounds(self) -> npt.NDArray[np.int64]:
        first = self.lines.offset
        raw = self.lines.buffers()[1]
        return np.frombuffer(raw, np.int64)[first : first + len(self.lines) + 1]


def decode_chunk(
    chunk: Chunk,
    decode_lines: Callable[[bytes], list[_T]],
    decode_line: Callable[[bytes], _T],
) -> list[_T | None]:
    """Return a message for each record, None for a record that is not one.

    All lines are decoded in one call if each record is surely one line; else one by one, so that a
    bad record affects no other. `rdv.serve.batches` reads them like this for the server.
    """
    blob = chunk.blob()
    if blob.count(b"\n") == len(chunk) and blob.endswith(b"\n"):
        try:
            if not blob.isascii():
                blob.decode()
            messages: list[_T | None] = decode_lines(blob)  # type: ignore[assignment]
            if len(messages) == len(chunk):
                return messages
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return [_read(chunk.line(row), decode_line) for row in range(len(chunk))]


def _read(line: bytes, decode_line: Callable[[bytes], _T]) -> _T | None:
    try:
        if not line.isascii():
            line.decode()
        return decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedMessage):
        return None


def read_requests(chunk: Chunk) -> list[Request | None]:
    """Return a request for each record; None for a record that is not one."""
    return decode_chunk(chunk, _request_lines, decode_request)


def read_results(chunk: Chunk) -> list[Result | None]:
    """Return a result for each record; None for a record that is not one."""
    return decode_chunk(chunk, _result_lines, decode_result)


def read_scores(chunk: Chunk) -> list[Score | None]:
    """Return a score for each record; None for a record that is not one, or names another model."""
    scores = decode_chunk(chunk, _score_lines, decode_score)
    topic = chunk.topic
    for row, score in enumerate(scores):
        if score is not None and (
            score.model != topic
            or (
                (score.error is not None or score.refusal or score.result is msgspec.UNSET)
                and validate_score(score)
            )
        ):
            scores[row] = None
    return scores
