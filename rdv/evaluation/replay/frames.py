"""Define the frames between a replay and its model's process: batches there, outcomes back. Pure.

A batch has two u32 (rows, bytes), the length of each row (u32), then the rows with commas in
between, so that the model's process can read all of them as one JSON array. Outcomes have rows,
bytes, the time of the evaluation in ns (u64), a code and a length for each row, then their texts.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

HEAD = struct.Struct("<II")
BACK = struct.Struct("<IIQ")
RESULT, ERROR, NOTHING = range(3)
_U32 = 4


class Evaluated(NamedTuple):
    """A batch's outcomes: for each row a code, and the result's JSON or the error's text."""

    codes: bytes
    texts: list[bytes]
    took_ns: int


def pack_rows(rows: Sequence[bytes]) -> bytes:
    """Pack a batch for the model's process."""
    blob = b",".join(rows)
    return b"".join((HEAD.pack(len(rows), len(blob)), _lengths(rows), blob))


def rows_size(rows: int, size_bytes: int) -> int:
    """Return the number of bytes after the head of a batch."""
    return rows * _U32 + size_bytes


def split_rows(rows: int, body: bytes) -> list[bytes]:
    """Split the body into rows."""
    lengths = array("I", body[: rows * _U32])
    starts = accumulate((length + 1 for length in lengths), initial=rows * _U32)
    return [body[at : at + length] for at, length in zip(starts, lengths, strict=False)]


def pack_outcomes(codes: bytes, texts: Sequence[bytes], took_ns: int) -> bytes:
    """Pack a batch's outcomes for the replay."""
    blob = b"".join(texts)
    return b"".join((BACK.pack(len(codes), len(blob), took_ns), codes, _lengths(texts), blob))


def outcomes_size(buffer: bytes | bytearray, at: int) -> int:
    """Return the number of bytes of the outcomes that begin at `at`; 0 if they are incomplete."""
    if len(buffer) - at < BACK.size:
        return 0
    rows, size_bytes, _ = BACK.unpack_from(buffer, at)
    whole = int(BACK.size + rows * (1 + _U32) + size_bytes)
    return whole if len(buffer) - at >= whole else 0


def unpack_outcomes(data: bytes) -> Evaluated:
    """Unpack what `pack_outcomes` made."""
    rows, _, took_ns = BACK.unpack_from(data)
    codes_end = BACK.size + rows
    start = codes_end + rows * _U32
    ends = accumulate(array("I", data[codes_end:start]), initial=start)
    return Evaluated(data[BACK.size : codes_end], [data[a:b] for a, b in pairwise(ends)], took_ns)


def _lengths(texts: Sequence[bytes]) -> bytes:
    return array("I", map(len, texts)).tobytes()
