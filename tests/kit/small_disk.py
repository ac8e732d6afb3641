"""Provide a small file system to any user that may mount one in a namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MOUNT = 'mount -t tmpfs -o "size=$1" none "$0" && echo mounted && exec cat'


class SmallDisk(NamedTuple):
    """A file system that is mounted in the namespaces (user and mount) of the process `pid`."""

    place: Path
    """Where it is for processes that are started by `command`."""
    pid: int

    @property
    def outside(self) -> Path:
        """Return its path for all other processes."""
        return Path(f"/proc/{self.pid}/root{self.place}")

    def command(self, words: list[str]) -> list[str]:
        """Return the command line that runs a program in the namespaces."""
        return ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.pid), *words]


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[SmallDisk | None]:
    """Yield a new file system of `size`, such as "8m"; None where no user may mount one."""
    place.mkdir()
    command = ["unshare", "-rm", "sh", "-c", MOUNT, str(place), size]
    pipe = subprocess.PIPE
    try:
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    except FileNotFoundError:  # not on Linux
        yield None
        return
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            is_mounted = holder.stdout.readline() == b"mounted\n"
            yield SmallDisk(place, holder.pid) if is_mounted else None
        finally:
            holder.stdin.close()
