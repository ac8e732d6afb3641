"""Open a log with any disk, read all of it, put its files back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rdv.clock import SYSTEM_CLOCK
from rdv.stream.config import StreamConfig
from rdv.stream.errors import RecordsDamaged, RecordsLost, StreamExists
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.directory import make_stream, read_config
from rdv.stream.file.writer import PartitionWriter
from rdv.stream.files import FileStream
from rdv.stream.producer import LogProducer
from rdv.system.disk import Disk

TOPIC = "t"
NEVER_MS = 3_600_000


def open_log(path: Path | str, disk: Disk | None = None, **settings: object) -> FileStream:
    """Open the file stream at `path` over `disk`; make it with `settings` if it does not exist."""
    disk, place = disk or Disk(), str(path)
    if not disk.exists(f"{place}/stream.toml"):
        with contextlib.suppress(StreamExists):
            make_stream(disk, place, StreamConfig(**settings))
    return FileStream(
        FileBackend(disk, place, read_config(disk, place), SYSTEM_CLOCK), SYSTEM_CLOCK
    )


def writer_of(producer: LogProducer, topic: str = TOPIC, partition: int = 0) -> PartitionWriter:
    """Return the partition writer inside a producer that has sent."""
    found = list(_writers_in(producer._writers[topic]))
    return found[partition]


def _writers_in(known: object) -> Iterator[PartitionWriter]:
    """Yield the writers in whatever the producer keeps them in."""
    if isinstance(known, PartitionWriter):
        yield known
    elif isinstance(known, list | tuple):
        for item in known:
            yield from _writers_in(item)


def partition_directory(path: Path | str) -> Path:
    return Path(path) / TOPIC / "0"


@dataclass
class Reading:
    """Collect what one pass from the first to the last offset has read."""

    records: dict[int, bytes] = field(default_factory=dict)
    damage: list[RecordsDamaged] = field(default_factory=list)
    lost: list[RecordsLost] = field(default_factory=list)
    position: int = 0
    end: int = 0

    def add_damage(self, error: RecordsDamaged, position: int) -> None:
        assert position == error.first_offset <= error.last_offset, (error, position)
        self.damage.append(error)

    @property
    def offsets_named(self) -> set[int]:
        """Return the offsets that an error has named."""
        return {
            offset
            for error in (*self.damage, *self.lost)
            for offset in range(error.first_offset, error.last_offset + 1)
        }


def read_all(stream: FileStream, *, max_records: int = 500, start: int = 0) -> Reading:
    """Read everything, seeking past whatever is damaged; fail when the reader gets stuck."""
    reading = Reading()
    with stream.consumer([TOPIC], start=start or "earliest") as consumer:
        place = consumer.assignment()[0]
        for _ in range(10_000):
            before = consumer.positions()[place]
            try:
                records = consumer.poll(max_records)
            except RecordsDamaged as error:
                reading.add_damage(error, before)
                consumer.seek(TOPIC, 0, error.last_offset + 1)
                continue
            except RecordsLost as error:
                reading.lost.append(error)
                continue
            for record in records:
                assert record.offset not in reading.records, f"{record.offset} came twice"
                assert record.offset >= before, "an offset below the position"
                reading.records[record.offset] = record.value
            if not records and consumer.positions()[place] == before:
                break
        else:
            raise AssertionError("the reader does not come to an end")
        reading.position, reading.end = consumer.positions()[place], stream.end(TOPIC, 0)
    assert reading.position == reading.end, (
        f"the reader is stuck at {reading.position}, the partition ends at {reading.end}"
    )
    missing = set(range(stream.begin(TOPIC, 0), reading.end)) - set(reading.records)
    silent = missing - reading.offsets_named
    assert not silent or _given_up(stream, silent), f"offsets {sorted(silent)} skipped silently"
    return reading


def _given_up(stream: FileStream, offsets: set[int]) -> bool:
    """Return whether `repair` has given up all of `offsets`: as many are counted as lost."""
    return sum(report.lost for report in stream.verify(TOPIC, 0)) >= len(offsets)


def damage_of(stream: FileStream) -> list[RecordsDamaged]:
    """Return all damage that `verify` finds."""
    return [error for report in stream.verify(TOPIC, 0) for error in report.damage]


def assert_sound(stream: FileStream, expected: dict[int, bytes]) -> None:
    """Check that the log has exactly `expected`, and that `verify` finds nothing."""
    reading = read_all(stream)
    assert reading.records == expected
    assert not reading.damage
    assert not reading.lost
    assert damage_of(stream) == []


def snapshot(directory: Path | str) -> dict[str, bytes]:
    """Return the contents of the regular files of one directory, by name."""
    return {p.name: p.read_bytes() for p in sorted(Path(directory).iterdir()) if p.is_file()}


def restore(directory: Path | str, files: dict[str, bytes]) -> None:
    """Make the directory hold exactly `files`.

    Files stay the same ones: the first user of another lock file would wait for those of this one.
    """
    place = Path(directory)
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in files or not path.is_file() or path.is_symlink():
            path.unlink()
    for name, data in files.items():
        (place / name).write_bytes(data)
