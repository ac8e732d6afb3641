"""The module offers what only streams in files have: places, Arrow, verify, repair, purge.

`rdv stream` and the studies use it. Components use what `rdv.stream` exports, which every backend
has.
"""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdv.clock import Clock
from rdv.stream.config import StreamConfig, dump_config
from rdv.stream.errors import NotInFiles, RecordsDamaged
from rdv.stream.file import backend as files
from rdv.stream.file import layout
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.layout import index_path, values_path
from rdv.stream.file.repair import Repair
from rdv.stream.file.verify import SegmentReport
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
    return files.read_config(Disk(), path)


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
        return self._files.missing(TopicPartition(topic, partition))

    def verify(self, topic: str, partition: int) -> Iterator[SegmentReport]:
        """Check every byte of a partition, segment by segment."""
        return self._files.verify(self._place(topic, partition))

    def repair(self, topic: str, partition: int) -> list[Repair]:
        """Settle all damage of a partition; offsets never shift, .broken copies are kept."""
        return self._files.repair(self._place(topic, partition))

    def purge(
        self, topic: str, partition: int, *, before_offset: int | None = None
    ) -> tuple[int, int]:
        """Apply the retention now, and delete whole segments below `before_offset`.

        Returns how many records and bytes were deleted. The newest segment always stays.
        """
        gone = self._files.purge(self._place(topic, partition), before_offset)
        return sum(s.next_base - s.base for s in gone), sum(s.size_bytes for s in gone)

    def size_bytes(self, topic: str, partition: int) -> int:
        """Return the partition's bytes on disk."""
        return self._files.size_bytes(self._place(topic, partition))

    def segments(self, topic: str, partition: int) -> list[int]:
        """Return the base offsets of the segments."""
        return self._files.segments(self._place(topic, partition))
