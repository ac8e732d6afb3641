"""A writer rescues its open segment when the files are deleted or moved away.

The open descriptors still read all its data, so the files can be made anew. FORMAT.md, "Locks and
permissions", states the guarantees.
"""

from __future__ import annotations

import contextlib
import logging

from rdv.coded import coded
from rdv.stream.file import layout
from rdv.stream.file.chain import BEGIN, after, walk
from rdv.stream.file.entry import ENTRY_BYTES, SEALED, Codec, unpack_entry, whole
from rdv.system.disk import Disk

log = logging.getLogger("rdv.stream")

_COPY_BYTES = 1 << 20


class OpenSegment:
    """An `OpenSegment` is a writer's last segment, by its own descriptors. Not thread-safe.

    Its methods are called under the lock that the segment's writers take, and also under the lock
    at the partition's path if that is another one by now. All of them raise OSError.
    """

    def __init__(self, disk: Disk, base: int, codec: Codec, index_fd: int, values_fd: int) -> None:
        self.base = base
        self._disk = disk
        self._codec = codec
        self._index_fd = disk.dup_private(index_fd)
        try:
            self._values_fd = disk.dup_private(values_fd)
        except BaseException:
            disk.close_private(self._index_fd)
            raise

    def close(self) -> None:
        for fd in (self._index_fd, self._values_fd):
            self._disk.close_private(fd)

    def put_back(self, directory: str, *, is_just_sealed: bool = False) -> list[bytes]:
        """Make the segment's missing files anew in `directory`, sealed, so that the next follows.

        `is_just_sealed` says that the caller has sealed it under the same lock. Returns the values
        that must be appended again because another process has begun a segment at the same offset
        meanwhile; call `leave` after that.
        """
        disk, count = self._disk, self._count()
        index_path = layout.index_path(directory, self.base)
        is_there = disk.is_at(self._index_fd, index_path)
        is_sealed = self._is_sealed(count)
        if is_sealed and not is_just_sealed:
            # Another writer has put it back, or retention has deleted it; or a writer that did not
            # have the deleted values open has taken their absence for damage.
            if is_there and self._has_more_values(directory, count):
                self._put_values_back(directory)
            return []
        if not count:
            if is_there:
                disk.unlink(index_path)  # a writer that has both files open notices that
            return []
        if not is_there and disk.is_file(index_path):
            again = self._records_not_in(index_path)
            log.warning(
                "%s: its files were replaced under a writer: %d of its records are appended anew",
                directory,
                len(again),
                extra=coded("records_appended_again"),
            )
            return again
        self._put_values_back(directory)
        if not is_there:
            self._copy(self._index_fd, index_path, b"" if is_sealed else self._seal(count))
            disk.sync_directory(directory)
        self.leave()
        text = "%s: files of its last segment were deleted: they are put back"
        log.warning(text, directory, extra=coded("files_restored"))
        return []

    def _has_more_values(self, directory: str, count: int) -> bool:
        """Return whether values are missing at the path that the open file has."""
        values_path = layout.values_path(directory, self.base)
        with contextlib.suppress(FileNotFoundError):
            if self._disk.is_at(self._values_fd, values_path):
                return False
            at_path = self._disk.path_size(values_path)
            return at_path < min(self._end_of_values(count), self._disk.size(self._values_fd))
        return True

    def _end_of_values(self, count: int) -> int:
        """Return where the last record ends, by the last intact entry that is not a seal."""
        for number in range(count - 1, -1, -1):
            raw = self._disk.pread(self._index_fd, ENTRY_BYTES, number * ENTRY_BYTES)
            entry = unpack_entry(raw)
            if self._codec.holds(raw, number) and not entry.flags & SEALED:
                return entry.end
        return 0

    def _put_values_back(self, directory: str) -> None:
        disk, values_path = self._disk, layout.values_path(directory, self.base)
        if disk.is_at(self._values_fd, values_path):
            return
        if disk.exists(values_path):
            disk.rename(values_path, disk.path_aside(values_path))
        self._copy(self._values_fd, values_path, b"")

    def leave(self) -> None:
        """Seal the open files, so that no other process that has them open appends to them."""
        count = self._count()
        if count and not self._is_sealed(count):
            self._disk.write_all(self._index_fd, self._seal(count), count * ENTRY_BYTES)

    def _count(self) -> int:
        return whole(self._disk.size(self._index_fd)) // ENTRY_BYTES

    def _last(self, count: int) -> bytes:
        return self._disk.pread(self._index_fd, ENTRY_BYTES, (count - 1) * ENTRY_BYTES)

    def _is_sealed(self, count: int) -> bool:
        if not count:
            return False
        last = self._last(count)
        return self._codec.holds(last, count - 1) and bool(unpack_entry(last).flags & SEALED)

    def _seal(self, count: int) -> bytes:
        last = self._last(count)
        entry = unpack_entry(last)
        end, time_ns = self._disk.size(self._values_fd), 0
        if self._codec.holds(last, count - 1):
            end, time_ns = entry.end, entry.time_ns
        return self._codec.pack(count, end, time_ns, 0, entry.crc, SEALED)

    def _copy(self, fd: int, path: str, more: bytes) -> None:
        """Make `path` a complete durable copy of an open file, with `more` appended."""
        disk, position = self._disk, 0
        scratch = f"{path}.{disk.new_name()}.tmp"
        copy = disk.open(scratch, write=True, create=True)
        try:
            try:
                size = whole(disk.size(fd)) if more else disk.size(fd)
                while position < size:
                    data = disk.read_all(fd, min(_COPY_BYTES, size - position), position)
                    if not data:
                        break
                    disk.write_all(copy, data, position)
                    position += len(data)
                if more:
                    disk.write_all(copy, more, position)
                disk.fdatasync(copy)
            finally:
                disk.close(copy)
            disk.move_over(scratch, path)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(scratch)
            raise

    def _records_not_in(self, index_path: str) -> list[bytes]:
        """Return the values of our records that are not in the index at `index_path`."""
        disk, count = self._disk, self._count()
        entries = disk.read_all(self._index_fd, count * ENTRY_BYTES, 0)
        theirs = disk.read_file(index_path)
        shared, at = 0, BEGIN
        while shared < count and _entry(entries, shared) == _entry(theirs, shared):
            at = after(at, unpack_entry(entries, shared * ENTRY_BYTES))
            shared += 1
        ours = walk(self._codec, entries[shared * ENTRY_BYTES :], self._read_values, at)
        return [verdict.value for verdict in ours if verdict.status == "ok"]

    def _read_values(self, start: int, end: int) -> bytes:
        return self._disk.read_all(self._values_fd, end - start, start) if end > start else b""


def _entry(data: bytes, number: int) -> bytes:
    return data[number * ENTRY_BYTES : (number + 1) * ENTRY_BYTES]
