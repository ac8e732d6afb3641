"""A partition's lock keeps its writers apart, even when the lock's file was renamed or deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rdv.stream.file import layout
from rdv.stream.file.checkpoint import is_recovered
from rdv.system.disk import Disk
from rdv.system.file_lock import locked, wait_for_deleted

LOOK_NS = 100_000_000
"""How often a writer makes sure that its files are still those at its path, in nanoseconds."""

TAKE_OVER_MS = 200
"""How long the first user of a new lock file waits, in milliseconds: writers that still use a
renamed one notice it within LOOK_NS; the rest is for those that the kernel does not run."""


def take_over(disk: Disk, directory: str, lock_fd: int, timeout_ms: int) -> None:
    """Wait until no process appends to a partition under an earlier lock file.

    Called under the partition's lock. Only the first user of a new file has to wait, and only if
    there was an earlier file in this boot, which may have been deleted or renamed. Raises OSError.
    """
    if not disk.size(lock_fd) and is_recovered(disk, directory):
        wait_for_deleted(disk, f"{directory}/{layout.LOCK_FILE}", timeout_ms)
        disk.pause(TAKE_OVER_MS / 1000)


@contextlib.contextmanager
def partition_locked(disk: Disk, directory: str, timeout_ms: int) -> Iterator[int]:
    """Hold a partition's lock for a block, as `locked` does; no other process appends meanwhile."""
    with locked(disk, f"{directory}/{layout.LOCK_FILE}", timeout_ms) as lock_fd:
        take_over(disk, directory, lock_fd, timeout_ms)
        yield lock_fd
