"""A chunk is some records of one partition: their unchanged lines, and when each was appended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.messages import MalformedMessage

_T = TypeVar("_T")


@dataclass(frozen=True)
class Chunk:
    """`lines` is Arrow large_binary over the mapped file; `times_ns` and `offsets` match its
    rows.
    """

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
    bad record affects no other. `rdv.components.batches` reads them like this for the server.
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
