"""A partition's lock file records what is known of its end. FORMAT.md has the layout.

The *checkpoint* holds which boot wrote last, and what is surely on disk. Within one boot the page
cache is coherent and only the very end of a segment can be torn. A different boot id means that
power may have been lost in between: the tail beyond `synced` may have holes and is examined once
(`recovery`). A stale checkpoint is harmless: it names less as synced.

The *mark* is an end that a writer has seen during this boot. It is written when a writer closes,
and periodically before, so that an index that is cut afterwards is noticed. It may be missing or
low.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple
from zlib import crc32

from rdv.stream.file import layout
from rdv.system.disk import Disk

_BODY = Struct("<16sQ")
_CHECK = Struct("<I")
CHECKPOINT_BYTES = _BODY.size + _CHECK.size
MARK_AT = CHECKPOINT_BYTES
_MARK = Struct("<QI")
_USE = Struct("<QQ")


class Checkpoint(NamedTuple):
    """A `Checkpoint` says that all offsets below `synced` have been made durable."""

    boot: bytes
    synced: int


def pack_checkpoint(checkpoint: Checkpoint) -> bytes:
    body = _BODY.pack(*checkpoint)
    return body + _CHECK.pack(crc32(body))


def unpack_checkpoint(data: bytes) -> Checkpoint | None:
    """Return the checkpoint, or None when it is missing or torn: then nothing is synced."""
    if len(data) < CHECKPOINT_BYTES:
        return None
    body, check = data[: _BODY.size], data[_BODY.size : CHECKPOINT_BYTES]
    if _CHECK.unpack(check)[0] != crc32(body):
        return None
    return Checkpoint(*_BODY.unpack(body))


def read_checkpoint(disk: Disk, lock_fd: int) -> Checkpoint | None:
    """Return the checkpoint of an open lock file, as `unpack_checkpoint` does. Raises OSError."""
    return unpack_checkpoint(disk.pread(lock_fd, CHECKPOINT_BYTES, 0))


def write_mark(disk: Disk, lock_fd: int, boot: bytes, end: int) -> None:
    """Note that the partition has reached `end`. Raises OSError."""
    if end > _unpack_mark(disk.pread(lock_fd, _MARK.size, MARK_AT), boot):
        check = crc32(_BODY.pack(boot, end))
        disk.write_all(lock_fd, _MARK.pack(end, check), MARK_AT)


def _unpack_mark(data: bytes, boot: bytes) -> int:
    """Return the end that was seen during this boot; 0 when nothing is known."""
    if len(data) < _MARK.size:
        return 0
    end, check = _MARK.unpack(data)
    return end if check == crc32(_BODY.pack(boot, end)) else 0


def known_end(disk: Disk, lock_fd: int) -> int:
    """Return an end below which the partition cannot have fallen without damage. Raises OSError."""
    data = disk.pread(lock_fd, MARK_AT + _MARK.size, 0)
    checkpoint = unpack_checkpoint(data)
    synced = 0 if checkpoint is None else checkpoint.synced
    return max(synced, _unpack_mark(data[MARK_AT:], disk.boot_id()))


def known_end_of(disk: Disk, directory: str) -> int:
    """Return `known_end` of the partition in `directory`, 0 without a lock file. Raises OSError."""
    try:
        fd = disk.open(f"{directory}/{layout.LOCK_FILE}")
    except FileNotFoundError:
        return 0
    try:
        return known_end(disk, fd)
    finally:
        disk.close(fd)


class LockUse(NamedTuple):
    """A `LockUse` tells by their inodes which lock file of which directory is in use."""

    directory: int
    lock: int


def lock_use(disk: Disk, directory: str) -> LockUse | None:
    """Return which lock file processes of this boot use; None when none has used the partition.

    If not, each process recovers it first. Zeros stand for a note of rdv 0.2.0. Raises OSError.
    """
    try:
        data = disk.read_file(f"{directory}/{layout.RECOVERED_FILE}")
    except FileNotFoundError:
        return None
    boot = disk.boot_id()
    if not data.startswith(boot) or len(data) not in (len(boot), len(boot) + _USE.size):
        return None
    return LockUse(*_USE.unpack(data[len(boot) :].ljust(_USE.size, b"\0")))


def is_recovered(disk: Disk, directory: str) -> bool:
    """Return whether the partition has been recovered in this boot, under any lock file.

    If not, no process of this boot has written to it: each recovers it first. Raises OSError.
    """
    return lock_use(disk, directory) is not None


def note_recovered(disk: Disk, directory: str, lock_fd: int) -> None:
    """Note that the partition has been recovered in this boot, and its lock. Raises OSError."""
    use = LockUse(disk.inode_at(directory), disk.inode(lock_fd))
    disk.replace_file(f"{directory}/{layout.RECOVERED_FILE}", disk.boot_id() + _USE.pack(*use))
