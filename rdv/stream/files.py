"""The module offers what only streams in files have: places, Arrow, verify, repair, purge.

`rdv stream` and the studies use it. Components use what `rdv.stream` exports, which every backend
has.
"""

from __future__ import annotations

import contextlib
import glob
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdv.clock import Clock
from rdv.stream.config import StreamConfig, dump_config
from rdv.stream.errors import NotInFiles, RecordsDamaged
from rdv.stream.file import directory, layout
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.damage import missing_partition
from rdv.stream.file.layout import index_path, values_path
from rdv.stream.file.misplaced import Moved
from rdv.stream.file.recovery import needs_recovery
from rdv.stream.file.repair import Repair, moved_by_repair, repair_partition
from rdv.stream.file.retention import purge
from rdv.stream.file.segment import open_segments
from rdv.stream.file.topic import TopicDirectories
from rdv.stream.file.verify import SegmentReport, verify_partition
from rdv.stream.protocol import Stream
from rdv.stream.record import TopicPartition
from rdv.stream.stream import LogStream
from rdv.system.disk import Disk
from rdv.system.faults import faults

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

__all__ = [
    "FileStream",
    "Repair",
    "SegmentReport",
    "files_of",
    "index_path",
    "is_stream",
    "read_config",
    "values_of",
    "values_path",
    "write_config",
]


def files_of(stream: Stream) -> FileStream:
    """Return the stream as one in files. Raises NotInFiles for any other backend."""
    if not isinstance(stream, FileStream):
        raise NotInFiles(stream.address)
    return stream


def is_stream(path: str) -> bool:
    """Return whether there is a stream in the directory `path`."""
    return Disk().is_file(posixpath.join(path, layout.CONFIG_FILE))


def read_config(path: str) -> StreamConfig:
    """Read the settings of the stream at `path`. Raises StreamNotFound and InvalidConfig."""
    return directory.read_config(Disk(), path)


def write_config(path: str, config: StreamConfig, head: str) -> None:
    """Replace the settings of the stream at `path`; `head` is a comment above them.

    Does nothing if they are the same. Raises SystemFaults.
    """
    disk, text = Disk(), dump_config(config, head).encode()
    config_path = f"{path}/{layout.CONFIG_FILE}"
    with faults(config_path, "write"):
        disk.file_mode = config.file_mode
        if disk.read_file(config_path) != text:
            disk.replace_file(config_path, text, durable=True)


def values_of(path: str) -> Iterator[str]:
    """Yield the paths of all files with values of the stream at `path`, without opening it.

    What cannot be listed is left out.
    """
    return glob.iglob(f"{glob.escape(path)}/*/*/*{layout.VALUES_SUFFIX}")


class FileStream(LogStream):
    """A `FileStream` is a stream in a directory. Many processes may open it at once."""

    def __init__(self, backend: FileBackend, clock: Clock, *, may_wait: bool = True) -> None:
        super().__init__(backend, clock, may_wait=may_wait)
        self._files = backend

    def read_arrow(
        self, topic: str, partition: int = 0, start: int | None = None, stop: int | None = None
    ) -> pa.ChunkedArray[Any]:
        """Return the values from `start` up to `stop` as Arrow `large_binary`, a chunk a segment.

        The values lie in the mapped files and are not copied; the array keeps the map alive. All of
        them have passed their CRC. Records given up by a repair are null. Raises RecordsDamaged,
        RecordsLost, OffsetOutOfRange.
        """
        from rdv.stream.file.arrow import read_arrow

        return read_arrow(self._files, self._place(topic, partition), start, stop)

    def times_ns(self, topic: str, partition: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return when the records `start` to `stop` were appended, from the index alone.

        They are int64 nanoseconds since 1970. Offsets in a gap that a repair has left have the time
        of the seal before it. Raises RecordsDamaged, and RecordsLost when retention has deleted one
        of them.
        """
        from rdv.stream.file.arrow import read_times

        place = TopicPartition(topic, partition)
        return read_times(self._files.disk, self._files.directory(place), place, start, stop)

    def missing(self, topic: str, partition: int) -> RecordsDamaged | None:
        """Return the damage, if the partition's directory has been deleted."""
        place = TopicPartition(topic, partition)
        with faults(self.address, "read"):
            return missing_partition(self._files.disk, self._files.directory(place), place)

    def verify(self, topic: str, partition: int) -> Iterator[SegmentReport]:
        """Check every byte of a partition, segment by segment.

        Other damage in its topic is reported with the first partition.
        """
        return self._verify(self._place(topic, partition))

    def _verify(self, place: TopicPartition) -> Iterator[SegmentReport]:
        self._files.ensure_recovered(place)
        disk, path = self._files.disk, self._files.directory(place)
        found = self._directory_damage(place)
        yield from (SegmentReport(one.path, 0, 0, 0, 0, (one,)) for one in found)
        if not any(one.path == path for one in found):
            yield from verify_partition(disk, path, *place, self._read_end(place))

    def _directory_damage(self, place: TopicPartition) -> list[RecordsDamaged]:
        directories = TopicDirectories(self._files.disk, f"{self.address}/{place.topic}")
        with faults(self.address, "read"):
            found = list(directories.strays()) if place.partition == 0 else []
            damage = directories.damage(place.partition)
        return found if damage is None else [*found, damage]

    def _read_end(self, place: TopicPartition) -> int:
        """Return the highest offset that a group has committed: below it no record may be missing.

        Returns 0 after a power loss until a process has written, as the power loss may have lost
        those records.
        """
        files = self._files
        with faults(self.address, "read"):
            if needs_recovery(files.disk, files.directory(place)):
                return 0
        read = (files.group(name).committed_at(place) for name in files.groups())
        return max((end for end in read if end is not None), default=0)

    def repair(self, topic: str, partition: int) -> list[Repair]:
        """Settle all damage of a partition; offsets never shift, .broken copies are kept."""
        files, place = self._files, self._place(topic, partition)
        files.claim_format()
        timeout_ms, moved = self.config.lock_timeout_ms, list[Moved]()
        if self._directory_damage(place):
            with files.changing():
                directories = TopicDirectories(files.disk, f"{self.address}/{topic}")
                moved = directories.put_back(timeout_ms)
            files.changed()
        end = self._read_end(place)
        done = repair_partition(files.disk, files.directory(place), *place, timeout_ms, end)
        return [*(moved_by_repair(one) for one in moved), *done]

    def purge(
        self, topic: str, partition: int, *, before_offset: int | None = None
    ) -> tuple[int, int]:
        """Apply the retention now, and delete whole segments below `before_offset`.

        Returns how many records and bytes were deleted. The newest segment always stays.
        """
        path = self._files.directory(self._place(topic, partition))
        with faults(path, "purge"):
            gone = purge(
                self._files.disk, path, self.config, self._clock, before_offset=before_offset
            )
        return sum(s.next_base - s.base for s in gone), sum(s.size_bytes for s in gone)

    def size_bytes(self, topic: str, partition: int) -> int:
        """Return the bytes of a partition's values and indexes on disk."""
        path, total = self._files.directory(self._place(topic, partition)), 0
        with faults(path, "list"):
            for base in open_segments(self._files.disk, path):
                for file in (values_path(path, base), index_path(path, base)):
                    with contextlib.suppress(FileNotFoundError):
                        total += self._files.disk.path_size(file)
        return total

    def segments(self, topic: str, partition: int) -> list[int]:
        """Return the base offsets of the segments."""
        return self._files.segments(self._place(topic, partition))
