"""A file stream offers more than the common contract: Arrow, verify, repair, purge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdv.clock import Clock
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.backend import FileBackend
from rdv.stream.file.repair import Repair
from rdv.stream.file.verify import SegmentReport
from rdv.stream.record import TopicPartition
from rdv.stream.stream import LogStream

if TYPE_CHECKING:
    import pyarrow as pa


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
