"""A decoy is a model that archives the requests exactly as models see them.

    DIR/decoy/NAME/2026-11-22.jsonl      then …-22.1.jsonl when that one is full

The archive shows, months later, what a model was really given, and serves to test a new model. A
decoy reports nothing, so no schedule can wait for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Any

from rdv.models.model import Again, Outcome, Takes
from rdv.rendezvous.messages import one_line

FILES = 16
"""The archive's limit is divided among at least this many files: whole files are deleted."""

_ARCHIVE = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d+))?\.jsonl", re.ASCII)


class Decoy:
    """Appends every row to a file of today (UTC), and deletes the oldest beyond the limit.

    Several instances may share the directory: a batch is one append. A full disk costs the rows,
    which are counted in `lost`, and never the worker.
    """

    takes: Takes = "lines"

    def __init__(
        self,
        directory: str,
        archive_bytes_max: int,
        version: str = "",
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.version = version or "decoy"
        self.lost = 0
        """Rows that could not be archived."""
        self._directory = directory
        self._bytes_max = archive_bytes_max
        self._file_bytes_max = max(1, archive_bytes_max // FILES)
        self._wall_s = wall_s
        self._day = ""
        self._number = 0

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Archive the rows. See Model."""
        del again
        lines = b"".join(one_line(row.removesuffix(b"\n")) + b"\n" for row in rows)
        try:
            self._append(lines)
        except OSError:
            self.lost += len(rows)
        return [None] * len(rows)

    def close(self) -> None:
        """Do nothing: no file is open between batches."""

    def _append(self, lines: bytes) -> None:
        path = self._file()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)

    def _file(self) -> str:
        """Return today's file that has room; delete old files before a new one begins."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self._wall_s()))
        if day != self._day:
            self._day, self._number = day, 0
        while True:
            path = os.path.join(self._directory, _file_name(day, self._number))
            try:
                if os.stat(path).st_size < self._file_bytes_max:
                    return path
            except FileNotFoundError:
                os.makedirs(self._directory, 0o700, exist_ok=True)
                self._delete_oldest()
                return path
            self._number += 1

    def _delete_oldest(self) -> None:
        """Make room for one more file."""
        names = sorted(filter(_is_archive, os.listdir(self._directory)), key=_age_key)
        sizes = {name: _size(os.path.join(self._directory, name)) for name in names}
        total = sum(sizes.values())
        for name in names:
            if total + self._file_bytes_max <= self._bytes_max:
                return
            with contextlib.suppress(FileNotFoundError):  # another instance was quicker
                os.unlink(os.path.join(self._directory, name))
            total -= sizes[name]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _file_name(day: str, number: int) -> str:
    return f"{day}.{number}.jsonl" if number else f"{day}.jsonl"


def _is_archive(name: str) -> bool:
    return _ARCHIVE.fullmatch(name) is not None


def _age_key(name: str) -> tuple[str, int]:
    match = _ARCHIVE.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match else ("", 0)
