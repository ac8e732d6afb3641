"""A file of lines that is rotated: FILE, FILE.1 (the newest of the full ones), FILE.2 ..."""

from __future__ import annotations

import contextlib
import os
import time
from itertools import pairwise

LOOK_S = 1.0
"""How often it is checked that the file is still at its path."""


class RotatingFile:
    """Appends lines, and rotates before one would make the file larger than `bytes_max`.

    Every line is written with one call and lies in one file as a whole. A line that cannot be
    written (a full disk) is dropped and counted in `lost`, and nothing of it stays. If another
    program renames or deletes the file, a new one is begun within LOOK_S. One writer, one thread.
    Files beyond `files_max`, of a time when it was larger, are deleted when it is opened.
    """

    def __init__(self, path: str, bytes_max: int, files_max: int, mode: int = 0o600) -> None:
        """Open the file to append; its directory is made. Raises OSError."""
        self._path, self._bytes_max, self._files_max = path, bytes_max, files_max
        self._mode = mode
        self.lost = 0
        self._looked_s = time.monotonic()
        os.makedirs(os.path.dirname(os.path.abspath(path)), 0o700, exist_ok=True)
        self._fd = -1
        self._open()
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # the machine failed within a line
        self._delete_surplus()

    def _delete_surplus(self) -> None:
        number = self._files_max
        with contextlib.suppress(OSError):
            while True:
                os.unlink(f"{self._path}.{number}")
                number += 1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._path, flags, self._mode)
        self._close()
        self._fd, self._size = fd, os.fstat(fd).st_size

    def write(self, line: bytes) -> OSError | None:
        """Append a line, which ends with a newline; return the error if that is not possible."""
        try:
            self._look()
            if self._size and self._size + len(line) > self._bytes_max:
                self._rotate()
            self._append(line)
        except OSError as error:
            self.lost += 1
            return error
        return None

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                # Not by `_size`: another program may have truncated the file.
                self._size = max(0, os.fstat(self._fd).st_size - written)
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        # If a new file could not be opened the last time, the others have been shifted already.
        if os.path.exists(self._path):
            names = [self._path, *(f"{self._path}.{n}" for n in range(1, self._files_max))]
            for old, new in reversed(list(pairwise(names))):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(old, new)
            if self._files_max == 1:
                os.unlink(self._path)
        self._open()

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        mine = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            self._open()
        else:
            self._size = mine.st_size  # copytruncate

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        self._close()
