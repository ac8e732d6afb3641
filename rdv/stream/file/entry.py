"""An index entry has 32 bytes and commits one record. Pure; see FORMAT.md for the layout.

The check of an entry is the CRC-32 of its first 28 bytes, started from a constant that a run of
intact entries has as its own CRC: one call checks a batch of any length. The two formats of the
index differ in that constant, so an entry shows its format.

In format 2 each entry says where it belongs: the upper 28 bits of its flags are a tag, computed
from the segment's identity (topic, partition, base) and the entry's number. An entry that has been
swapped, repeated, moved or copied from another segment has the wrong tag.

`crc` runs through the values of a segment (each record's starts from the one before, like the
records of etcd's write-ahead log): one call checks a batch of values, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import NamedTuple
from zlib import crc32

ENTRY_BYTES = 32
HEAD_BYTES = 28

SEALED = 1
"""The flag of an entry without a record: the segment ends here, the next begins at this offset."""
LOST = 2
"""The flag of a record that `repair` has given up; readers skip it."""
GAP = SEALED | LOST
"""The flags of an entry without a record with which `repair` has given up all offsets from here to
`end`, where the next segment begins."""
FLAGS_MASK = 0xF
"""The bits of the flags in an entry's `flags`; the others are its tag."""

_TAG_STEP = FLAGS_MASK + 1
_WORD_MASK = 0xFFFFFFFF
_IS_LITTLE = sys.byteorder == "little"
_FLAGS_AT = 24
_FLAGS = Struct("<I")
_HEAD = Struct("<QqIII")
_CHECK = Struct("<I")
_ENTRY = Struct("<QqIIII")


class Entry(NamedTuple):
    """An `Entry` is one index entry: its value is the `length` bytes of the values before `end`."""

    end: int
    time_ns: int
    length: int
    crc: int
    flags: int
    """The flags, and the tag in the bits above FLAGS_MASK."""
    check: int


@dataclass(frozen=True, slots=True)
class Codec:
    """A `Codec` writes and checks the entries of one segment."""

    version: int
    start: int
    """The start of each check's CRC, which is also the CRC of a run of intact entries."""
    mask: int
    """The mask that is XORed into each check."""
    first_word: int
    """The tag of the entry 0, where it lies in `flags`."""
    step: int
    """The difference between the tags of two consecutive entries."""

    def word(self, number: int) -> int:
        """Return the `flags` of the entry `number` when no flag is set: its tag alone."""
        return (self.first_word + number * self.step) & _WORD_MASK

    def words(self, number: int, count: int) -> list[int]:
        """Return `word` of `count` entries from `number` on."""
        first, step = self.word(number), self.step
        if not step:
            return [first] * count
        if first + count * step <= _WORD_MASK:
            return list(range(first, first + count * step, step))
        return [word & _WORD_MASK for word in range(first, first + count * step, step)]

    def pack(
        self, number: int, end: int, time_ns: int, length: int, crc: int, flags: int = 0
    ) -> bytes:
        """Return the 32 bytes of the entry `number`."""
        head = _HEAD.pack(end, time_ns, length, crc, self.word(number) | flags)
        return head + _CHECK.pack(crc32(head, self.start) ^ self.mask)

    def pack_batch(
        self, number: int, values: Sequence[bytes], end: int, time_ns: int, crc: int
    ) -> tuple[bytes, int, int]:
        """Return the entries from `number` on for `values`, after `end` and the running `crc`.

        Returns also the end and the CRC after them.
        """
        pack_head, pack_check = _HEAD.pack, _CHECK.pack
        start, mask = self.start, self.mask
        parts: list[bytes] = []
        append = parts.append
        for value, word in zip(values, self.words(number, len(values)), strict=True):
            length = len(value)
            end += length
            crc = crc32(value, crc)
            head = pack_head(end, time_ns, length, crc, word)
            append(head)
            append(pack_check(crc32(head, start) ^ mask))
        return b"".join(parts), end, crc

    def intact(self, entries: bytes) -> bool:
        """Return whether all entries in `entries` are of this format, and as they were written."""
        return crc32(entries, self.start) == self.start

    def belongs(self, entry: Entry, number: int) -> bool:
        """Return whether an intact entry was written as the entry `number` of this segment."""
        return entry.flags & ~FLAGS_MASK == self.word(number)

    def holds(self, raw: bytes, number: int) -> bool:
        """Return whether the one entry in `raw` is intact, and is the segment's entry `number`."""
        if crc32(raw, self.start) != self.start:
            return False
        flags: int = _FLAGS.unpack_from(raw, _FLAGS_AT)[0]
        return flags & ~FLAGS_MASK == self.word(number)

    def number_of(self, entry: Entry) -> int | None:
        """Return the number that an intact entry was written with; None for format 1.

        For an entry of another segment the number is most likely far too large.
        """
        if not self.step:
            return None
        distance = (entry.flags & ~FLAGS_MASK) - self.first_word
        return (distance & _WORD_MASK) // self.step


_START_1 = 0x2144DF1C
_START_2 = 0x1E1E5B07
_MASK_2 = 0x32766472

FORMAT_1 = Codec(1, _START_1, 0, 0, 0)
"""The index of rdv 0.1.0, in any segment. It is still read, but no longer written."""


def codec_of(identity: str, base: int) -> Codec:
    """Return the codec of a segment of the current format.

    `identity` names the partition: TOPIC/PARTITION.
    """
    seed = crc32(f"{identity}/{base}".encode())
    return Codec(2, _START_2, _MASK_2, seed & ~FLAGS_MASK, _TAG_STEP)


def recognise(today: Codec, edges: Iterable[tuple[int, bytes]]) -> Codec | None:
    """Return a segment's format by some (number, bytes) of its entries; None if none is intact.

    `today` is the codec that the segment has if it is of the current format.
    """
    found: Codec | None = None
    for number, raw in edges:
        if today.holds(raw, number):
            return today  # it names its segment, which cannot happen by accident
        if FORMAT_1.intact(raw):
            found = FORMAT_1
        elif found is None and today.intact(raw):
            found = today
    return found


def unpack_entry(data: bytes, position: int = 0) -> Entry:
    """Return the entry at `position`, intact or not."""
    return Entry._make(_ENTRY.unpack_from(data, position))


def unpack_entries(data: bytes) -> list[tuple[int, int, int, int, int, int]]:
    """Return all entries in `data` as plain tuples in the order of Entry's fields."""
    return list(_ENTRY.iter_unpack(data))


Column = list[int]


def unpack_columns(data: bytes) -> tuple[Column, Column, Column, Column, Column]:
    """Return ends, times, lengths, crcs and flags of all entries in `data`, at least one."""
    if len(data) == ENTRY_BYTES:
        end, time_ns, length, crc, flags, _ = _ENTRY.unpack(data)
        return [end], [time_ns], [length], [crc], [flags]
    if not _IS_LITTLE:
        ends, times, lengths, crcs, flags, _ = map(list, zip(*unpack_entries(data), strict=True))
        return ends, times, lengths, crcs, flags
    # Casting the bytes in place takes a third of the time.
    view = memoryview(data)
    words = view.cast("I")
    return (
        view.cast("Q")[0::4].tolist(),
        view.cast("q")[1::4].tolist(),
        words[4::8].tolist(),
        words[5::8].tolist(),
        words[6::8].tolist(),
    )


def runs_on(ends: Column, times: Column, lengths: Column, end: int, time_ns: int) -> bool:
    """Return whether each entry follows from the one before; the first from `end` and `time_ns`.

    Each value begins where the one before it ends, and no time is before the one before it.
    """
    stops = accumulate(lengths, initial=end)
    next(stops)
    return list(stops) == ends and times[0] >= time_ns and sorted(times) == times


def base_behind(base: int, number: int, seal: Entry) -> int:
    """Return where the next segment begins, by the sealing entry `number` of a segment."""
    return seal.end if seal.flags & FLAGS_MASK == GAP else base + number


def last_flags(data: bytes) -> int:
    """Return the flags of the last entry in `data`, without its tag."""
    flags: int = _FLAGS.unpack_from(data, len(data) - ENTRY_BYTES + _FLAGS_AT)[0]
    return flags & FLAGS_MASK


def whole(size_bytes: int) -> int:
    """Return `size_bytes` of an index without the torn entry that may end it."""
    return size_bytes - size_bytes % ENTRY_BYTES
