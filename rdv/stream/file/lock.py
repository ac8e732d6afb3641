"""A partition's lock keeps its writers apart, even when the lock's file was renamed or deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rdv.stream.file import layout
from rdv.stream.file.checkpoint import LockUse, lock_use, note_recovered, read_checkpoint
from rdv.system.disk import Disk
from rdv.system.file_lock import locked, wait_for_deleted

LOOK_NS = 100_000_000
"""How often a writer makes sure that its files are still those at its path, in nanoseconds."""

TAKE_OVER_MS = 200
"""How long the first user of a new lock file waits, in milliseconds: writers that still use a
renamed one notice it within LOOK_NS; the rest is for those that the kernel does not run."""


def take_over(disk: Disk, directory: str, lock_fd: int, timeout_ms: int) -> None:
    """Wait until no process appends to a partition under an earlier lock file.

    Called under the partition's lock. Only the first user of another file than was used before in
    this boot has to wait: the earlier one may have been deleted, renamed or replaced. The files of
    a directory that is a copy, or was replaced as a whole, are in use under no other lock. Raises
    OSError.
    """
    used, now = lock_use(disk, directory), LockUse(disk.inode_at(directory), disk.inode(lock_fd))
    if used == now:
        return
    if used is None:
        checkpoint = read_checkpoint(disk, lock_fd)
        if checkpoint is None or checkpoint.boot != disk.boot_id():
            return  # the partition is recovered next, which notes the lock
    elif used.directory == now.directory or (not used.directory and not disk.size(lock_fd)):
        wait_for_deleted(disk, f"{directory}/{layout.LOCK_FILE}", timeout_ms)
        disk.pause(TAKE_OVER_MS / 1000)
    with contextlib.suppress(OSError):  # a full disk: the next user waits again
        note_recovered(disk, directory, lock_fd)


@contextlib.contextmanager
def partition_locked(disk: Disk, directory: str, timeout_ms: int) -> Iterator[int]:
    """Hold a partition's lock for a block, as `locked` does; no other process appends meanwhile."""
    with locked(disk, f"{directory}/{layout.LOCK_FILE}", timeout_ms) as lock_fd:
        take_over(disk, directory, lock_fd, timeout_ms)
        yield lock_fd
