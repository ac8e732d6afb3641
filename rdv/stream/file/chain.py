"""Walking a segment record by record to say exactly what is damaged. Pure.

Readers and writers check whole batches with two CRC calls (`entry`); only when a batch fails, or
`verify` wants the last word, is it walked like this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple
from zlib import crc32

from rdv.stream.file.entry import ENTRY_BYTES, LOST, SEALED, Entry, intact, unpack_entry

Status = Literal["ok", "lost", "sealed", "damaged"]


class Verdict(NamedTuple):
    """What became of one index entry.

    `number` counts entries from the walk's start; `start` and `end` are byte positions in the
    values (of the last trusted byte where the entry cannot be trusted). `in_index` tells whether
    the index or the values hold the damage.
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
    entries: bytes, read_values: Callable[[int, int], bytes], end: int, crc: int
) -> Iterator[Verdict]:
    """Judge every whole entry in `entries`, the first of which follows the byte `end` and `crc`.

    `read_values(start, end)` returns those bytes of the values, fewer when the file is shorter.
    A damaged entry costs only its own record: the next one is still checked through the bytes of
    both. Only when the bytes under a damaged entry are damaged too is the record after it given
    up as well, because nothing vouches for it.
    """
    bridging = False
    for number in range(len(entries) // ENTRY_BYTES):
        raw = entries[number * ENTRY_BYTES : (number + 1) * ENTRY_BYTES]
        entry = unpack_entry(raw)
        start = entry.end - entry.length
        reason = _index_reason(raw, entry, end, bridging=bridging)
        if reason:
            yield Verdict(number, "damaged", end, end, entry, b"", reason, in_index=True)
            bridging = True
            continue
        if entry.flags & SEALED:
            yield Verdict(number, "sealed", end, entry.end, entry, b"")
            return
        if entry.flags & LOST:
            yield Verdict(number, "lost", start, entry.end, entry, b"")
        else:
            data = read_values(end, entry.end)
            reason = _values_reason(data, entry, end, crc, bridging=bridging)
            status: Status = "damaged" if reason else "ok"
            value = b"" if reason else data[start - end :]
            yield Verdict(number, status, start, entry.end, entry, value, reason)
        end, crc, bridging = entry.end, entry.crc, False


def _index_reason(raw: bytes, entry: Entry, end: int, *, bridging: bool) -> str:
    if not intact(raw):
        return "the index entry fails its check"
    start = entry.end - entry.length
    if entry.flags & SEALED:
        return ""
    if start < end:
        return f"the index runs backwards: from byte {end} to byte {start}"
    if start > end and not bridging:
        return f"the index skips bytes {end} to {start}"
    return ""


def _values_reason(data: bytes, entry: Entry, end: int, crc: int, *, bridging: bool) -> str:
    if len(data) < entry.end - end:
        return f"the values end at byte {end + len(data)}, before the index does ({entry.end})"
    if crc32(data, crc) == entry.crc:
        return ""
    if bridging:
        return "the value cannot be vouched for: the index entry before it is damaged"
    return "the value fails its CRC"
