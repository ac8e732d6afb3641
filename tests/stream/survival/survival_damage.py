"""Make a small log whose files can be cut and flipped at every byte, and check the outcome."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from survival_disks import QuietDisk
from survival_logs import (
    TOPIC,
    Reading,
    damage_of,
    open_log,
    partition_directory,
    read_all,
    restore,
    snapshot,
)

from rdv.errors import RdvError
from rdv.stream.errors import RecordsDamaged

ENTRY = 32
FIRST = [b'{"a":1}\n', b"", b"\x00\xff" * 9, b"x", b"one more value\n", b"the end"]
SECOND = [b"second segment", b"", b"\n", b'{"b":[1,2,3]}\n']
NEW = [b"appended after the damage", b"and another"]


class BoundedDisk(QuietDisk):
    """Fail a loop that would list a directory for ever."""

    def __init__(self) -> None:
        self.listed = 0

    def list_files(self, path: str) -> list[str]:
        self.listed += 1
        assert self.listed < 2000, "the directory is listed again and again, without end"
        return super().list_files(path)


@dataclass
class SmallLog:
    """Describe a log at `path`: its values, its segments' bases, and its partition's files."""

    path: Path
    values: list[bytes]
    bases: list[int]
    files: dict[str, bytes]

    def index_name(self, segment: int) -> str:
        return f"{self.bases[segment]:020d}.index"

    def values_name(self, segment: int) -> str:
        return f"{self.bases[segment]:020d}.jsonl"

    def in_segment(self, segment: int) -> range:
        """Return the offsets of the records in a segment."""
        stop = [*self.bases[1:], len(self.values)][segment]
        return range(self.bases[segment], stop)

    def ends(self, segment: int) -> list[int]:
        """Return the ends of the values in a segment's file."""
        return list(accumulate(len(self.values[offset]) for offset in self.in_segment(segment)))

    def offset_of_byte(self, segment: int, position: int) -> int:
        """Return the offset of the value that the byte at `position` belongs to."""
        return self.bases[segment] + bisect_right(self.ends(segment), position)

    def damaged(self, name: str, data: bytes) -> None:
        """Put all files back, and write `data` in place of one of them."""
        restore(partition_directory(self.path), {**self.files, name: data})

    def open(self):
        return open_log(self.path, BoundedDisk())


def make_small_log(path: Path, segments: int) -> SmallLog:
    values = FIRST if segments == 1 else [*FIRST, *SECOND]
    limit = sum(map(len, FIRST))
    with (
        open_log(path, segment_bytes=limit, lock_timeout_ms=2000) as stream,
        stream.producer() as producer,
    ):
        producer.send_many(TOPIC, FIRST[:2])
        producer.send_many(TOPIC, FIRST[2:])
        for value in values[len(FIRST) :]:
            producer.send(TOPIC, value)
        bases = stream.segments(TOPIC, 0)
    assert bases == [0, len(FIRST)][:segments]
    return SmallLog(path, values, bases, snapshot(partition_directory(path)))


def collect(states: Iterable[tuple[str, Callable[[], None]]]) -> None:
    """Run all checks; fail with one example of each kind of failure and how many there were."""
    kinds: dict[str, list[str]] = {}
    count = 0
    for name, check in states:
        count += 1
        try:
            check()
        except Exception as error:
            what = f"{type(error).__name__}: {error}"[:300].replace("\n", " ")
            kind = re.sub(r"[^A-Za-z]+", " ", what)[:50]
            kinds.setdefault(kind, []).append(f"{name}: {what}")
    shown = "\n".join(f"{len(names)} x {names[0]}" for names in kinds.values())
    failed = sum(map(len, kinds.values()))
    assert not failed, f"{failed} of {count} states fail\n{shown}"


def check_data(log: SmallLog, reading: Reading, lost: set[int], path: str | None) -> None:
    """Check that exactly `lost` could not be read, and that errors with the path named them."""
    for offset, value in reading.records.items():
        assert value == log.values[offset], f"a wrong value at {offset}: {value!r}"
    assert reading.lost == [], f"retention is blamed: {reading.lost}"
    missing = set(range(reading.end)) - reading.records.keys()
    assert missing == lost, f"missing {sorted(missing)}, expected {sorted(lost)}"
    assert reading.offsets_named == lost, f"named {sorted(reading.offsets_named)}"
    for error in reading.damage:
        assert path is None or Path(error.path).name == path, error


def append_and_check(log: SmallLog, first_new: int, lost: set[int]) -> None:
    """Append, reopen, read: check that the new offsets begin at `first_new` or beyond."""
    with log.open() as stream, stream.producer() as producer:
        _, offset = producer.send(TOPIC, NEW[0])
        _, after = producer.send(TOPIC, NEW[1])
        assert offset >= first_new, f"the offset {offset} is used again"
        assert after == offset + 1
    for max_records in (500, 1):
        with log.open() as stream:
            reading = read_all(stream, max_records=max_records)
        assert reading.end == after + 1
        assert reading.records.pop(offset) == NEW[0]
        assert reading.records.pop(after) == NEW[1]
        assert set(reading.records) == set(range(len(log.values))) - lost, "records are gone"
        for old, value in reading.records.items():
            assert value == log.values[old]


def check_arrow(log: SmallLog, lost: set[int], *, is_cut: bool = False) -> None:
    """Check that an Arrow range either raises RecordsDamaged or has exactly the right values."""
    with log.open() as stream:
        end = stream.end(TOPIC, 0)
        for start, stop in [(0, end), *((offset, offset + 1) for offset in range(end))]:
            try:
                values = stream.read_arrow(TOPIC, 0, start, stop).to_pylist()
            except RecordsDamaged:
                continue
            assert values == log.values[start:stop], f"arrow {start} to {stop}: {values!r}"
            assert lost.isdisjoint(range(start, stop))
        if not lost:
            assert stream.read_arrow(TOPIC, 0, 0, end).to_pylist() == log.values[:end]


def check_repair(log: SmallLog, lost: set[int], regained: set[int], broken: set[str]) -> None:
    """Check two repairs: clean, nothing shifted, damaged files kept, `regained` restored."""
    directory = partition_directory(log.path)
    before = snapshot(directory)
    with log.open() as stream:
        was_damaged = bool(damage_of(stream))
        repairs = stream.repair(TOPIC, 0)
        assert bool(repairs) == was_damaged
        assert damage_of(stream) == [], "verify is not clean after the repair"
        assert stream.repair(TOPIC, 0) == [], "the second repair finds something to do"
        reading = read_all(stream)
        assert not reading.damage
        assert not reading.lost
        end = stream.end(TOPIC, 0)
        for offset, value in reading.records.items():
            assert value == log.values[offset], f"wrong after repair at {offset}: {value!r}"
        assert set(reading.records) >= set(range(end)) - lost, "repair loses records"
        assert set(reading.records) >= regained, "a record that could be had was given up"
        arrow = stream.read_arrow(TOPIC, 0).to_pylist()
        assert arrow == [reading.records.get(offset) for offset in range(end)]
        for repair in repairs:
            assert len(repair.broken_copies) == 2
            for copy in map(Path, repair.broken_copies):
                original = copy.name.removesuffix(".broken")
                assert copy.read_bytes() == before.get(original, b""), copy
        with stream.producer() as producer:
            assert producer.send(TOPIC, NEW[0]) == (0, end)
    with log.open() as stream:
        assert damage_of(stream) == []
        assert read_all(stream).records == {**reading.records, end: NEW[0]}
    if was_damaged:
        assert broken & {copy for r in repairs for copy in _original_names(r.broken_copies)}


def _original_names(copies: tuple[str, ...]) -> Iterator[str]:
    for copy in copies:
        yield Path(copy).name.removesuffix(".broken")


def expect_damage_or_nothing(call: Callable[[], object]) -> object:
    """Return the call's answer or error. Only errors of rdv may come out of it."""
    try:
        return call()
    except RdvError as error:
        return error
