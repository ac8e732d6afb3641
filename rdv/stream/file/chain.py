"""A walk checks a segment record by record, to say exactly what is damaged. Pure.

Readers and writers check whole batches with two CRC calls (`entry`). A walk is needed only when a
batch fails, or when `verify` needs the exact damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple
from zlib import crc32

from rdv.coded import CodedText
from rdv.stream.file.entry import ENTRY_BYTES, LOST, SEALED, Codec, Entry, unpack_entry

Status = Literal["ok", "lost", "sealed", "damaged"]


class Position(NamedTuple):
    """A `Position` lies between two entries, and holds what the one before it says."""

    number: int
    """The number of the next entry in the segment."""
    end: int
    crc: int
    time_ns: int


BEGIN = Position(0, 0, 0, -(2**63))
"""The position at which each segment begins."""


class Verdict(NamedTuple):
    """A `Verdict` states the condition of one index entry.

    `number` counts entries from the walk's start; `start` and `end` are byte positions in the
    values (of the last trusted byte where the entry cannot be trusted). `in_index` tells whether
    the index or the values are damaged.
    """

    number: int
    status: Status
    start: int
    end: int
    entry: Entry
    value: bytes
    reason: str = ""
    in_index: bool = False


def walk(
    codec: Codec, entries: bytes, read_values: Callable[[int, int], bytes], at: Position
) -> Iterator[Verdict]:
    """Judge every complete entry in `entries`, the first of which is the one after `at`.

    `read_values(start, end)` returns those bytes of the values, fewer when the file is shorter. A
    damaged entry costs only its own record: the next one is still checked through the bytes of
    both. Only when the bytes under a damaged entry are damaged too is the record after it given up
    as well, because nothing confirms it.
    """
    bridging = False
    for number in range(len(entries) // ENTRY_BYTES):
        raw = entries[number * ENTRY_BYTES : (number + 1) * ENTRY_BYTES]
        entry, end = unpack_entry(raw), at.end
        start = entry.end - entry.length
        reason = _index_reason(codec, raw, entry, at, bridging=bridging)
        if reason:
            yield Verdict(number, "damaged", end, end, entry, b"", reason, in_index=True)
            at, bridging = at._replace(number=at.number + 1), True
            continue
        if entry.flags & SEALED:
            yield Verdict(number, "sealed", end, entry.end, entry, b"")
            return
        if entry.flags & LOST:
            yield Verdict(number, "lost", start, entry.end, entry, b"")
        else:
            data = read_values(end, entry.end)
            reason = _values_reason(data, entry, end, at.crc, bridging=bridging)
            status: Status = "damaged" if reason else "ok"
            value = b"" if reason else data[start - end :]
            yield Verdict(number, status, start, entry.end, entry, value, reason)
        at, bridging = after(at, entry), False


def after(at: Position, entry: Entry) -> Position:
    """Return the position after an entry that can be trusted."""
    return Position(at.number + 1, entry.end, entry.crc, entry.time_ns)


def _index_reason(codec: Codec, raw: bytes, entry: Entry, at: Position, *, bridging: bool) -> str:
    if not any(raw):
        text = "the index entry is missing: it was cut off, or never written out"
        return CodedText("index_entry_missing", text)
    if not codec.intact(raw):
        return CodedText("index_entry_damaged", "the index entry fails its check")
    if not codec.belongs(entry, at.number):
        text = "the index entry belongs to another offset or another segment"
        return CodedText("index_entry_misplaced", text)
    return "" if entry.flags & SEALED else _order_reason(entry, at, bridging=bridging)


def _order_reason(entry: Entry, at: Position, *, bridging: bool) -> str:
    """Return why the entry does not follow from the one before it; empty when it does."""
    start = entry.end - entry.length
    if start < at.end:
        text = f"the index runs backwards: from byte {at.end} to byte {start}"
        return CodedText("index_out_of_order", text)
    if start > at.end and not bridging:
        return CodedText("index_out_of_order", f"the index skips bytes {at.end} to {start}")
    if entry.time_ns < at.time_ns:
        text = f"the time runs backwards: from {at.time_ns} to {entry.time_ns}"
        return CodedText("time_out_of_order", text)
    return ""


def _values_reason(data: bytes, entry: Entry, end: int, crc: int, *, bridging: bool) -> str:
    if len(data) < entry.end - end:
        text = f"the values end at byte {end + len(data)}, before the index does ({entry.end})"
        return CodedText("values_cut_off", text)
    if crc32(data, crc) == entry.crc:
        return ""
    if bridging:
        text = "the value cannot be vouched for: the index entry before it is damaged"
        return CodedText("value_unconfirmed", text)
    return CodedText("value_damaged", "the value fails its CRC")
