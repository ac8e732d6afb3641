"""The index entry: 32 bytes that commit one record. Pure; see FORMAT.md for the layout.

Every entry's `check` is the CRC-32 of its first 28 bytes, started from the CRC-32 residue
0x2144DF1C. The CRC of data followed by its own CRC is that residue again, so a run of intact
entries has the CRC `RESIDUE` as a whole: one call checks a batch of any length.
`crc` runs through the values of a segment (each record's starts from the one before, like the
records of etcd's write-ahead log): one call checks a batch of values, too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple
from zlib import crc32

ENTRY_BYTES = 32
HEAD_BYTES = 28
RESIDUE = 0x2144DF1C

SEALED = 1
"""Flag: no record; the segment ends here and the next begins at this offset."""
LOST = 2
"""Flag: `repair` has given this record up; readers pass over it."""

_FLAGS_AT = 24
_IS_LITTLE = sys.byteorder == "little"
_FLAGS = Struct("<I")
_HEAD = Struct("<QqIII")
_CHECK = Struct("<I")
_ENTRY = Struct("<QqIIII")


class Entry(NamedTuple):
    """One index entry: the value is the `length` bytes before `end` in the segment's values."""

    end: int
    time_ns: int
    length: int
    crc: int
    flags: int
    check: int


def pack_entry(end: int, time_ns: int, length: int, crc: int, flags: int) -> bytes:
    """The 32 bytes of an entry."""
    head = _HEAD.pack(end, time_ns, length, crc, flags)
    return head + _CHECK.pack(crc32(head, RESIDUE))


def pack_batch(values: Sequence[bytes], end: int, time_ns: int, crc: int) -> tuple[bytes, int, int]:
    """Entries for `values` appended after `end` and the running `crc`: (entries, end, crc)."""
    pack_head, pack_check = _HEAD.pack, _CHECK.pack
    parts: list[bytes] = []
    append = parts.append
    for value in values:
        length = len(value)
        end += length
        crc = crc32(value, crc)
        head = pack_head(end, time_ns, length, crc, 0)
        append(head)
        append(pack_check(crc32(head, RESIDUE)))
    return b"".join(parts), end, crc


def intact(entries: bytes) -> bool:
    """Whether all entries in `entries` (whole ones) are as they were written."""
    return crc32(entries, RESIDUE) == RESIDUE


def unpack_entry(data: bytes, position: int = 0) -> Entry:
    """The entry at `position`; whether it is intact is another question."""
    return Entry._make(_ENTRY.unpack_from(data, position))


def unpack_entries(data: bytes) -> list[tuple[int, int, int, int, int, int]]:
    """All entries in `data` as plain tuples in the order of Entry's fields."""
    return list(_ENTRY.iter_unpack(data))


Column = Sequence[int]


def unpack_columns(data: bytes) -> tuple[Column, Column, Column, Column, Column]:
    """All entries in `data`, of which there is at least one: ends, times, lengths, crcs, flags."""
    if len(data) == ENTRY_BYTES:
        end, time_ns, length, crc, flags, _ = _ENTRY.unpack(data)
        return (end,), (time_ns,), (length,), (crc,), (flags,)
    if not _IS_LITTLE:
        ends, times, lengths, crcs, flags, _ = zip(*unpack_entries(data), strict=True)
        return ends, times, lengths, crcs, flags
    # Casts of the bytes as they are take a third of the time.
    view = memoryview(data)
    words = view.cast("I")
    return (
        view.cast("Q")[0::4].tolist(),
        view.cast("q")[1::4].tolist(),
        words[4::8].tolist(),
        words[5::8].tolist(),
        words[6::8].tolist(),
    )


def last_flags(data: bytes) -> int:
    """The flags of the last entry in `data`."""
    flags: int = _FLAGS.unpack_from(data, len(data) - ENTRY_BYTES + _FLAGS_AT)[0]
    return flags


def whole(size_bytes: int) -> int:
    """`size_bytes` of an index without the torn entry that may end it."""
    return size_bytes - size_bytes % ENTRY_BYTES
