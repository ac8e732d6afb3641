"""What a worker is evaluating, written down, so that the next one can speak for it if it dies.

A model that ends its process (a segfault, `os._exit`, no memory) takes the batch in its hands
along. The note lies in the page cache, which outlives any process: one small write per batch, no
sync. Whoever starts as the same instance reports those requests as errors, and does not evaluate
them again: the same request would end it again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from rdv.components.worker.backlog import Waiting

NOTE_BYTES_MAX = 1024 * 1024
_HEAD = 9
"""8 hex digits: the length of the rest; one for whether it has been reported."""

_OPEN, _REPORTED = b" ", b"r"
_SPOILED = "-"

SPOILED_MAX = 1_000
"""Requests that ended a model are remembered, so that two of them cannot end it in turns."""


class Left(NamedTuple):
    """What a worker finds of the one before it."""

    batch: tuple[tuple[int, str], ...] = ()
    """(partition, request id) of what was in its hands."""
    spoiled: tuple[str, ...] = ()
    """Requests that ended it, or one before it; they have been reported."""
    is_reported: bool = True
    """Whether the batch has been reported all the same (a hang)."""


class InHand:
    """The note of one instance: who has it open has no other (its supervisor sees to that).

    Without a path nothing is kept. Not being able to write is no reason to stop: then a crash
    goes unexplained.
    """

    def __init__(self, path: str = "") -> None:
        self._fd = -1
        self._spoiled = ""
        self._is_done = False
        if path:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def left(self) -> Left:
        """What the one before us did not finish."""
        if self._fd < 0:
            return Left()
        with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
            head = os.pread(self._fd, _HEAD, 0) or b"0" * _HEAD
            text = os.pread(self._fd, min(int(head[:-1], 16), NOTE_BYTES_MAX), _HEAD).decode()
            batch, spoiled = [], []
            for line in text.split("\n"):
                place, *ids = line.split(" ")
                if place == _SPOILED:
                    spoiled += ids
                else:
                    batch += [(int(place), id_) for id_ in ids]
            return Left(tuple(batch), tuple(spoiled), head[-1:] == _REPORTED)
        return Left()

    def spoil(self, ids: Sequence[str]) -> None:
        """These shall never be evaluated, also by those after us; the newest SPOILED_MAX of all."""
        self._spoiled = f"\n{_SPOILED} {' '.join(ids[-SPOILED_MAX:])}" if ids else ""
        self.lay_down()

    def take(self, batch: Sequence[Waiting]) -> None:
        """The batch is in our hands from now on."""
        if self._fd >= 0:
            by_partition: dict[int, list[str]] = {}
            for waiting in batch:
                by_partition.setdefault(waiting.block.partition, []).append(waiting.request.id)
            lines = [f"{partition} {' '.join(ids)}" for partition, ids in by_partition.items()]
            self._note("\n".join(lines))
            self._is_done = False

    def done(self) -> None:
        """It has been reported: to be laid down, or to be followed by the next, whatever is first.

        Under load that saves a write; a worker that is killed just now reports it once more.
        """
        self._is_done = True

    def rest(self) -> None:
        """What was done is laid down: nothing follows at once."""
        if self._is_done:
            self.lay_down()

    def lay_down(self) -> None:
        """Nothing is in our hands."""
        self._is_done = False
        self._note("")

    def _note(self, lines: str) -> None:
        text = (lines + self._spoiled).encode()
        self._write(b"%08x%b%b" % (len(text), _OPEN, text))

    def reported(self) -> None:
        """It is still in our hands, and will be when we end; but there is a report."""
        self._write(_REPORTED, _HEAD - 1)

    def _write(self, data: bytes, position: int = 0) -> None:
        if self._fd >= 0:
            try:  # noqa: SIM105 - hot
                os.pwrite(self._fd, data, position)
            except OSError:
                pass

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
