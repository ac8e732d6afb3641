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
_SIZE = 8


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

    def left(self) -> list[tuple[int, str]]:
        """(partition, request id) of the batch that the one before us did not finish."""
        if self._fd < 0:
            return []
        with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
            size = int(os.pread(self._fd, _SIZE, 0) or b"0", 16)
            text = os.pread(self._fd, min(size, NOTE_BYTES_MAX), _SIZE).decode()
            lines = (line.split(" ", 1) for line in text.splitlines())
            return [(int(partition), id_) for partition, id_ in lines]
        return []

    def take(self, batch: Sequence[Waiting]) -> None:
        """The batch is in our hands from now on."""
        if self._fd >= 0:
            text = "\n".join([f"{w.record.partition} {w.request.id}" for w in batch]).encode()
            note = b"%08x%b" % (len(text), text)
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, note[:NOTE_BYTES_MAX], 0)

    def lay_down(self) -> None:
        """Nothing is in our hands."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, b"%08x" % 0, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
