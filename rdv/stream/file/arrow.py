"""A range of a partition as Arrow arrays over the mapped files."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.chain import walk
from rdv.stream.file.disk import faults
from rdv.stream.file.entry import ENTRY_BYTES, LOST, intact
from rdv.stream.file.segment import Segment
from rdv.stream.record import TopicPartition

ENTRY_DTYPE = np.dtype(
    [
        ("end", "<u8"),
        ("time_ns", "<i8"),
        ("length", "<u4"),
        ("crc", "<u4"),
        ("flags", "<u4"),
        ("check", "<u4"),
    ]
)


def read_arrow(
    backend: FileBackend, place: TopicPartition, start: int | None, stop: int | None
) -> pa.ChunkedArray[Any]:
    """See FileStream.read_arrow."""
    backend.ensure_recovered(place)
    begin, end = backend.begin(place), backend.end(place)
    first = begin if start is None else start
    last = end if stop is None else stop
    if first < begin:
        raise RecordsLost(*place, first, begin - 1)
    if not first <= last <= end:
        raise OffsetOutOfRange(*place, max(last, first), begin, end)
    directory = backend.directory(place)
    bases = backend.segments(place)
    chunks = []
    with faults(directory, "read"):
        for base, next_base in zip(bases, [*bases[1:], end], strict=True):
            low, high = max(first, base), min(last, next_base)
            if low < high:
                chunks.append(_read_segment(backend, place, base, low, high))
    return pa.chunked_array(chunks, type=pa.large_binary())


def _read_segment(
    backend: FileBackend, place: TopicPartition, base: int, low: int, high: int
) -> pa.Array[Any]:
    """Offsets `low` to `high`, all of which are in the segment at `base`."""
    try:
        segment = Segment(backend.disk, backend.directory(place), base)
    except FileNotFoundError:
        raise RecordsLost(*place, low, high - 1) from None
    with segment:
        raw = segment.entries(low - base, high - low)
        start, crc = segment.position(low - base)
        entries = np.frombuffer(raw, ENTRY_DTYPE)
        stop = int(entries["end"][-1]) if len(entries) else 0
        is_whole = (
            start >= 0
            and len(entries) == high - low
            and intact(raw)
            and not (entries["flags"] & ~np.uint32(LOST)).any()
            and stop <= segment.values_size()
        )
        if not is_whole or not _runs_on(entries, start):
            raise _first_damage(segment, place, base)
        if stop == 0:
            return pa.array([b""] * len(entries), pa.large_binary())
        mapped = backend.disk.map_file(segment.values_path, size_bytes=stop)
        lost = entries["flags"] != 0
        if not lost.any() and crc32(memoryview(mapped)[start:stop], crc) != entries["crc"][-1]:
            raise _first_damage(segment, place, base)
        if lost.any():
            _check_around_lost(segment, place, base)
    offsets = np.empty(len(entries) + 1, np.int64)
    offsets[0] = start
    offsets[1:] = entries["end"]
    validity = None
    if lost.any():
        validity = pa.py_buffer(np.packbits(~lost, bitorder="little"))
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(mapped)]
    return pa.Array.from_buffers(pa.large_binary(), len(entries), buffers)


def _runs_on(entries: np.ndarray[Any, Any], start: int) -> bool:
    """Whether the values lie one after another, from `start` on."""
    ends = entries["end"].astype(np.int64)
    starts = ends - entries["length"]
    return bool(starts[0] == start and (starts[1:] == ends[:-1]).all())


def _check_around_lost(segment: Segment, place: TopicPartition, base: int) -> None:
    """With records that were given up in between, the rest is checked one by one."""
    raw = segment.entries(0, segment.entry_count())
    if any(v.status == "damaged" for v in walk(raw, segment.values, 0, 0)):
        raise _first_damage(segment, place, base)


def _first_damage(segment: Segment, place: TopicPartition, base: int) -> RecordsDamaged:
    raw = segment.entries(0, segment.entry_count())
    for verdict in walk(raw, segment.values, 0, 0):
        if verdict.status == "damaged":
            offset, position = base + verdict.number, verdict.start
            size = verdict.end - verdict.start
            if verdict.in_index:
                position, size = verdict.number * ENTRY_BYTES, ENTRY_BYTES
            path = segment.index_path if verdict.in_index else segment.values_path
            return RecordsDamaged(path, *place, offset, offset, position, size, verdict.reason)
    return RecordsDamaged(
        segment.index_path, *place, base, base, len(raw), 0, "the index ends too early"
    )
