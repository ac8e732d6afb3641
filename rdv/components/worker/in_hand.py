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

from rdv.components.worker.backlog import Waiting

NOTE_BYTES_MAX = 1024 * 1024
_HEAD = 9
"""8 hex digits: the length of the rest; one for whether it has been reported."""

_OPEN, _REPORTED = b" ", b"r"


class InHand:
    """The note of one instance: who has it open has no other (its supervisor sees to that).

    Without a path nothing is kept. Not being able to write is no reason to stop: then a crash
    goes unexplained.
    """

    def __init__(self, path: str = "") -> None:
        self._fd = -1
        if path:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def left(self) -> tuple[list[tuple[int, str]], bool]:
        """(partition, request id) of the batch that the one before us did not finish, and whether
        it has reported it all the same (a hang).
        """
        if self._fd < 0:
            return [], True
        with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
            head = os.pread(self._fd, _HEAD, 0) or b"0" * _HEAD
            text = os.pread(self._fd, min(int(head[:-1], 16), NOTE_BYTES_MAX), _HEAD).decode()
            left = []
            for line in text.splitlines():
                partition, *ids = line.split(" ")
                left += [(int(partition), id_) for id_ in ids]
            return left, head[-1:] == _REPORTED
        return [], True

    def take(self, batch: Sequence[Waiting]) -> None:
        """The batch is in our hands from now on."""
        if self._fd >= 0:
            by_partition: dict[int, list[str]] = {}
            for waiting in batch:
                by_partition.setdefault(waiting.record.partition, []).append(waiting.request.id)
            lines = [f"{partition} {' '.join(ids)}" for partition, ids in by_partition.items()]
            text = "\n".join(lines).encode()
            self._write(b"%08x%b%b" % (len(text), _OPEN, text))

    def lay_down(self) -> None:
        """Nothing is in our hands."""
        self._write(b"%08x%b" % (0, _OPEN))

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
