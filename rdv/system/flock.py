"""The system calls for locks on files, and who holds one."""

from __future__ import annotations

import contextlib
import fcntl
import os

_TRY_EXCLUSIVE = fcntl.LOCK_EX | fcntl.LOCK_NB
_TRY_SHARED = fcntl.LOCK_SH | fcntl.LOCK_NB


class Flocks:
    """`Flocks` is the part of `Disk` for locks. Thread-safe as far as the calls are."""

    flock = staticmethod(fcntl.flock)

    def try_lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the flock of an open file if no process holds it. Returns whether it was taken."""
        try:
            self.flock(fd, _TRY_SHARED if shared else _TRY_EXCLUSIVE)
        except BlockingIOError:
            return False
        return True

    def wait_for_lock(self, fd: int) -> None:
        """Take the flock, however long it takes (`FileLock` bounds the wait)."""
        self.flock(fd, fcntl.LOCK_EX)

    def unlock(self, fd: int) -> None:
        self.flock(fd, fcntl.LOCK_UN)

    def lock_holder(self, fd: int) -> str:
        """Return the holder of a file's flock for an error message: "process 4711" on Linux."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            facts = os.fstat(fd)
            wanted = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
            with open("/proc/locks", encoding="ascii") as locks:
                for line in locks:
                    words = line.split()
                    if words[1] == "FLOCK" and words[5] == wanted:
                        return f"process {words[4]}"
        return "another process"

    def open_deleted(self, path: str) -> list[int]:
        """Open the files that were deleted from `path` and that a process has locked by flock.

        Linux only (elsewhere, and for processes of other users, there are none). Each descriptor
        has a lock of its own; the caller closes them.
        """
        found: dict[int, int] = {}
        name = f"{os.path.realpath(path)} (deleted)"
        for pid in _pids_with_flocks():
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{pid}/fd"):
                    link = f"/proc/{pid}/fd/{number}"
                    with contextlib.suppress(OSError):
                        if (
                            os.readlink(link) == name
                            and (inode := os.stat(link).st_ino) not in found
                        ):
                            found[inode] = os.open(link, os.O_RDWR | os.O_CLOEXEC)
        return list(found.values())


def _pids_with_flocks() -> set[str]:
    """Return the ids of the processes that hold an flock now, as Linux lists them."""
    with contextlib.suppress(OSError, IndexError), open("/proc/locks", encoding="ascii") as locks:
        return {words[4] for line in locks if (words := line.split())[1] == "FLOCK"}
    return set()
