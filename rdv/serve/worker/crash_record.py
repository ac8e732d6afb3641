"""Records the batch that a worker evaluates, so that its successor can report it if it dies.

A model that ends its process (a segfault, `os._exit`, no memory) loses the batch that is being
evaluated. The note lies in the page cache, which outlives any process: one small write per batch,
no sync. The next worker of the same instance reports those requests as errors, and does not
evaluate them again: the same request would end it again.

A worker locks its note, with a lock that goes with the process and that no forked child inherits
(fcntl). So a worker that is to replace one that still runs finds the note locked, reports nothing
and uses another note beside it; it checks again later, in case the other one dies after all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from rdv.rendezvous.backlog import Waiting

NOTE_BYTES_MAX = 1024 * 1024
_HEAD = 9
"""8 hex digits: the length of the rest; one for whether it has been reported."""

_OPEN, _REPORTED = b" ", b"r"
_POISON = "-"

POISON_MAX = 1_000
"""The maximum number of remembered requests that ended a model: they must not do so again."""


class Unfinished(NamedTuple):
    """Holds what a worker finds of its predecessors."""

    batch: tuple[tuple[int, str], ...] = ()
    """(partition, request id) of the batch that was being evaluated."""
    poison: tuple[str, ...] = ()
    """Requests that ended a worker earlier; they have been reported."""
    is_reported: bool = True
    """Whether the batch has been reported all the same (a hang)."""


class CrashRecord:
    """Keeps the note of one instance. For one thread, except `reported`.

    Without a path nothing is kept. A failed write is ignored: then a crash goes unexplained.
    """

    def __init__(self, path: str = "") -> None:
        self._fd = -1
        self._path = self._first = path
        self._poison = ""
        self._is_done = False
        self._running: dict[str, int] = {}
        """Notes of workers that still run, and their descriptors."""
        if path:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                self._open(path)

    def _open(self, path: str) -> None:
        fd = _open_note(path)
        if _lock(fd):
            self._fd = fd
            return
        self._running[path] = fd
        self._path = f"{path}.{secrets.token_hex(4)}"
        self._fd = _open_note(self._path)
        _lock(self._fd)

    def unfinished(self) -> Unfinished:
        """Return what the predecessors did not finish. To be called once, before any write."""
        found = _read(self._fd) if self._fd >= 0 else Unfinished()
        for path in self._beside():
            with contextlib.suppress(OSError):
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                if not _lock(fd):
                    self._running[path] = fd
                    continue
                # Another worker may have taken it over between the open and the lock.
                if os.fstat(fd).st_nlink:
                    found = _merged(found, _read(fd))
                    os.unlink(path)
                os.close(fd)
        for fd in self._running.values():
            found = found._replace(poison=(*found.poison, *_read(fd).poison))
        return found

    def _beside(self) -> list[str]:
        """Return the notes of other workers that were started as this instance."""
        folder, first = os.path.split(self._first)
        try:
            names = os.listdir(folder) if folder else []
        except OSError:
            return []
        paths = [os.path.join(folder, name) for name in names if name.startswith(f"{first}.")]
        return [path for path in paths if path != self._path]

    @property
    def is_alone(self) -> bool:
        """Return whether no other worker runs as this instance, as far as is known."""
        return not self._running

    def newly_ended(self) -> Unfinished:
        """Return what workers have left that ran at the start and have ended since."""
        found = Unfinished()
        for path, fd in list(self._running.items()):
            if not _lock(fd):
                continue
            del self._running[path]
            with contextlib.suppress(OSError):
                found = _merged(found, _read(fd))
                os.pwrite(fd, b"%08x%b" % (0, _OPEN), 0)
                if path in self._beside():
                    os.unlink(path)
            os.close(fd)
        return found

    def exclude(self, ids: Sequence[str]) -> None:
        """Record the newest POISON_MAX requests, so that no worker ever evaluates them again."""
        self._poison = f"\n{_POISON} {' '.join(ids[-POISON_MAX:])}" if ids else ""
        self.clear()

    def take(self, batch: Sequence[Waiting]) -> None:
        """Record the batch that is being evaluated from now on."""
        if self._fd >= 0:
            by_partition: dict[int, list[str]] = {}
            for waiting in batch:
                by_partition.setdefault(waiting.block.partition, []).append(waiting.request.id)
            lines = [f"{partition} {' '.join(ids)}" for partition, ids in by_partition.items()]
            self._note("\n".join(lines))
            self._is_done = False

    def done(self) -> None:
        """Note that the batch has been reported; the next `take` or `rest` clears the record.

        Under load that saves a write; a worker that is killed before then reports it once more.
        """
        self._is_done = True

    def clear_if_done(self) -> None:
        """Clear the record of a reported batch, because no other follows at once."""
        if self._is_done:
            self.clear()

    def clear(self) -> None:
        """Record that no batch is being evaluated."""
        self._is_done = False
        self._note("")

    def _note(self, lines: str) -> None:
        text = (lines + self._poison).encode()
        self._write(b"%08x%b%b" % (len(text), _OPEN, text))

    def reported(self) -> None:
        """Mark the batch as reported although it is still being evaluated until the end."""
        self._write(_REPORTED, _HEAD - 1)

    def _write(self, data: bytes, position: int = 0) -> None:
        if self._fd >= 0:
            try:  # noqa: SIM105 - hot
                os.pwrite(self._fd, data, position)
            except OSError:
                pass

    def close(self) -> None:
        for fd in self._running.values():
            os.close(fd)
        self._running.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_note(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(fd: int) -> bool:
    """Lock the note; return whether no other process has it locked."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(fd: int) -> Unfinished:
    with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
        head = os.pread(fd, _HEAD, 0) or b"0" * _HEAD
        text = os.pread(fd, min(int(head[:-1], 16), NOTE_BYTES_MAX), _HEAD).decode()
        batch, poison = [], []
        for line in text.split("\n"):
            place, *ids = line.split(" ")
            if place == _POISON:
                poison += ids
            else:
                batch += [(int(place), id_) for id_ in ids]
        return Unfinished(tuple(batch), tuple(poison), head[-1:] == _REPORTED)
    return Unfinished()


def _merged(one: Unfinished, other: Unfinished) -> Unfinished:
    """Merge two records; a reported batch is only kept from being evaluated again."""
    batch: list[tuple[int, str]] = []
    poison = [*one.poison, *other.poison]
    for left in (one, other):
        if left.is_reported:
            poison += [id_ for _, id_ in left.batch]
        else:
            batch += left.batch
    return Unfinished(tuple(batch), tuple(poison), not batch)


def unfinished_ids(folder: str, model: str) -> set[str]:
    """Return the requests that workers of the model evaluate now, or did not survive."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if not name.startswith(f"{model}-"):
                continue
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_CLOEXEC)
                left = _read(fd)
                os.close(fd)
                found.update(left.poison, (id_ for _, id_ in left.batch))
    return found
