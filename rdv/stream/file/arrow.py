"""These functions return a range of a partition as Arrow arrays over the mapped files."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.coded import CodedText
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.chain import BEGIN, Position, walk
from rdv.stream.file.damage import cut_index, index_gap, missing_segment, missing_values
from rdv.stream.file.entry import ENTRY_BYTES, LOST, Entry, base_behind
from rdv.stream.file.segment import Segment, open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk
from rdv.system.faults import faults

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
    """Return a range of values as Arrow arrays; see FileStream.read_arrow."""
    backend.ensure_recovered(place)
    begin, end = backend.begin(place), backend.end(place)
    first = begin if start is None else start
    last = end if stop is None else stop
    if 0 <= first < begin:
        raise RecordsLost(*place, first, begin - 1)
    if not 0 <= first <= last <= end:
        raise OffsetOutOfRange(*place, max(last, first), begin, end)
    directory = backend.directory(place)
    bases = backend.segments(place)
    if first < last and not bases:
        raise cut_index(backend.disk, directory, place, first, last)
    if first < last and first < bases[0]:
        raise RecordsLost(*place, first, bases[0] - 1)
    chunks = []
    with faults(directory, "read"):
        for base, next_base in pairwise([*bases, end]):
            low, high = max(first, base), min(last, next_base)
            if low < high:
                chunks += _read_segment(backend.disk, directory, place, base, low, high)
    return pa.chunked_array(chunks, type=pa.large_binary())


def read_times(
    disk: Disk, directory: str, place: TopicPartition, low: int, high: int
) -> npt.NDArray[np.int64]:
    """Return when the records `low` to `high` were appended, from the index alone, in nanoseconds.

    Offsets in a gap that a repair has left have the time of the seal before it. Raises
    RecordsDamaged, and RecordsLost when retention has deleted one of them.
    """
    parts = [np.empty(0, np.int64)]
    with faults(directory, "read"):
        for base, next_base in pairwise([*open_segments(disk, directory), high]):
            first, last = max(low, base), min(high, next_base)
            if first >= last:
                continue
            with _opened(disk, directory, place, base, first, last, index_only=True) as segment:
                stop, seal = _stop(disk, directory, place, segment, first, last)
                if first < stop:
                    entries, _ = _sound_entries(segment, place, first, stop)
                    parts.append(entries["time_ns"].astype(np.int64))
                if seal is not None:
                    parts.append(np.full(last - max(first, stop), seal.time_ns, np.int64))
    times_ns = np.concatenate(parts)
    if len(times_ns) < high - low:
        raise RecordsLost(*place, low, high - 1)
    return times_ns


def _opened(
    disk: Disk,
    directory: str,
    place: TopicPartition,
    base: int,
    low: int,
    high: int,
    *,
    index_only: bool = False,
) -> Segment:
    try:
        return Segment(disk, directory, base, index_only=index_only)
    except FileNotFoundError:
        damage = missing_values(disk, directory, place, base, low)
        raise (damage or RecordsLost(*place, low, high - 1)) from None


def _stop(
    disk: Disk, directory: str, place: TopicPartition, segment: Segment, low: int, high: int
) -> tuple[int, Entry | None]:
    """Return the offset up to which the segment has records, and the seal that gives up the others.

    Raises RecordsDamaged when they are missing without having been given up.
    """
    count = segment.entry_count()
    seal = segment.seal(count)
    end = segment.base + count - (seal is not None)
    if high <= end:
        return high, None
    if seal is not None and base_behind(segment.base, count - 1, seal) >= high:
        return min(max(end, low), high), seal
    later = [base for base in open_segments(disk, directory) if base > segment.base]
    if not later:
        raise cut_index(disk, directory, place, max(end, low), high)
    if seal is None:
        raise index_gap(segment, place, max(end, low), later[0])
    raise missing_segment(disk, directory, place, max(end, low), later[0])


def _read_segment(
    disk: Disk, directory: str, place: TopicPartition, base: int, low: int, high: int
) -> list[pa.Array[Any]]:
    """Read the offsets `low` to `high`, which are in the segment at `base` or given up by it."""
    with _opened(disk, directory, place, base, low, high) as segment:
        stop, seal = _stop(disk, directory, place, segment, low, high)
        arrays = [_read_records(disk, place, segment, low, stop)] if low < stop else []
    if seal is not None:
        arrays.append(pa.nulls(high - max(low, stop), pa.large_binary()))
    return arrays


def _read_records(
    disk: Disk, place: TopicPartition, segment: Segment, low: int, high: int
) -> pa.Array[Any]:
    entries, at = _sound_entries(segment, place, low, high)
    start, stop = at.end, int(entries["end"][-1])
    lost = entries["flags"] & np.uint32(LOST) != 0
    if stop > segment.values_size():
        raise _first_damage(segment, place)
    if stop == 0:
        nothing = [None if is_lost else b"" for is_lost in lost.tolist()]
        return pa.array(nothing, pa.large_binary())
    mapped = disk.map_file(segment.values_path, size_bytes=stop)
    if lost.any():
        _check_around_lost(segment, place)
    elif crc32(memoryview(mapped)[start:stop], at.crc) != entries["crc"][-1]:
        raise _first_damage(segment, place)
    offsets = np.empty(len(entries) + 1, np.int64)
    offsets[0] = start
    offsets[1:] = entries["end"]
    validity = None
    if lost.any():
        validity = pa.py_buffer(np.packbits(~lost, bitorder="little"))
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(mapped)]
    return pa.Array.from_buffers(pa.large_binary(), len(entries), buffers)


def _sound_entries(
    segment: Segment, place: TopicPartition, low: int, high: int
) -> tuple[np.ndarray[Any, Any], Position]:
    """Return the entries of these records, each of which follows from the one before it.

    Raises RecordsDamaged.
    """
    codec, number = segment.codec, low - segment.base
    raw, at = segment.entries(number, high - low), segment.position(number)
    entries = np.frombuffer(raw, ENTRY_DTYPE)
    if at is None or len(entries) != high - low or not codec.intact(raw):
        raise _first_damage(segment, place)
    words = np.arange(len(entries), dtype=np.uint32) * np.uint32(codec.step)
    words += np.uint32(codec.word(number))
    if (entries["flags"] & ~np.uint32(LOST) != words).any() or not _runs_on(entries, at):
        raise _first_damage(segment, place)
    return entries, at


def _runs_on(entries: np.ndarray[Any, Any], at: Position) -> bool:
    """Return whether the values lie one after another, and no time is before the one before it."""
    ends, times_ns = entries["end"].astype(np.int64), entries["time_ns"]
    starts = ends - entries["length"]
    return bool(
        starts[0] == at.end
        and times_ns[0] >= at.time_ns
        and (starts[1:] == ends[:-1]).all()
        and (times_ns[1:] >= times_ns[:-1]).all()
    )


def _check_around_lost(segment: Segment, place: TopicPartition) -> None:
    """Check the records one by one, because some in between were given up."""
    raw = segment.entries(0, segment.entry_count())
    verdicts = walk(segment.codec, raw, segment.values, BEGIN)
    if any(verdict.status == "damaged" for verdict in verdicts):
        raise _first_damage(segment, place)


def _first_damage(segment: Segment, place: TopicPartition) -> RecordsDamaged:
    base, raw = segment.base, segment.entries(0, segment.entry_count())
    values = segment.values if segment.values_fd >= 0 else _no_values
    for verdict in walk(segment.codec, raw, values, BEGIN):
        if verdict.status == "damaged" and (verdict.in_index or segment.values_fd >= 0):
            offset, position = base + verdict.number, verdict.start
            size = verdict.end - verdict.start
            if verdict.in_index:
                position, size = verdict.number * ENTRY_BYTES, ENTRY_BYTES
            path = segment.index_path if verdict.in_index else segment.values_path
            return RecordsDamaged(path, *place, offset, offset, position, size, verdict.reason)
    return RecordsDamaged(
        segment.index_path,
        *place,
        base,
        base,
        len(raw),
        0,
        CodedText("index_cut_off", "the index ends too early"),
    )


def _no_values(*_: int) -> bytes:
    """Return no values, for a check of the index alone."""
    return b""
