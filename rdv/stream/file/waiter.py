"""A `FifoWaiter` is one consumer's place on the wake-up board, through which writers notify it."""

from __future__ import annotations

from collections.abc import Iterable

from rdv.stream.errors import Closed
from rdv.stream.file.board import EVERYTHING, Board, mask_of
from rdv.stream.record import TopicPartition
from rdv.system.disk import Disk
from rdv.system.forks import watch_forks

LOOK_NS = 100_000_000
"""How often a reader makes sure that writers can still notify it, in nanoseconds."""

BACKSTOP_S = 0.2
"""The longest wait in seconds: a wake-up is lost when its writer is killed in that very instant."""


class FifoWaiter:
    """A `FifoWaiter` belongs to one consumer. Its FIFO is made at the first wait. One thread."""

    def __init__(self, board: Board, disk: Disk) -> None:
        self._board = board
        self._disk = disk
        self._slot = self._fd = -1
        self._mask = self._known_mask = 0
        self._is_exposed = self._is_forked = False
        self._epoch = self._look_ns = 0
        watch_forks(self)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable at a notification (after `arm`)."""
        self._is_exposed = True
        return self._open()

    def _open(self) -> int:
        if self._is_forked:
            raise Closed("consumer", "it was opened before this process was forked off")
        if self._fd < 0:
            self._slot, self._fd = self._board.take_slot()
        return self._fd

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        """Set which partitions notify this reader from now on; None means all."""
        self._mask = EVERYTHING
        if places is not None:
            self._mask = 0
            for place in places:
                self._mask |= mask_of(*place)

    def arm(self, priority: int) -> None:
        """Register as waiting. The caller must look once more before it blocks."""
        self._open()
        if self._disk.monotonic_ns() >= self._look_ns or self._epoch != self._board.epoch:
            self._look_after()
        if self._mask != self._known_mask:
            self._board.set_mask(self._slot, self._mask)
            self._known_mask = self._mask
        self._board.set_waiting(self._slot, priority)

    def _look_after(self) -> None:
        """Make sure that writers find our FIFO at its path and our mask on the board."""
        self._look_ns = self._disk.monotonic_ns() + LOOK_NS
        self._epoch = self._board.epoch
        if not self._board.is_ours(self._slot, self._fd):
            # The FIFO was deleted. The descriptor's number stays the same, for callers that watch
            # it (`fileno`).
            self._slot, fd = self._board.take_slot()
            self._disk.dup2(fd, self._fd)
            self._disk.close(fd)
            self._known_mask = 0
            self._disk.notify(self._fd)
        if not self._board.has_mask(self._slot, self._known_mask):
            self._board.set_mask(self._slot, self._mask)
            self._known_mask = self._mask

    def wake(self) -> None:
        """Notify this reader itself."""
        self._disk.notify(self._open())

    def is_armed(self) -> bool:
        """Return whether the next commit will notify this reader; false once one has."""
        return self._fd >= 0 and self._board.is_waiting(self._slot)

    def drain(self) -> None:
        """Drain the pending notifications: the records that they announced are about to be read.

        Only needed for callers that watch the descriptor: a notification may come after its records
        have been read, and would keep the descriptor readable.
        """
        if self._is_exposed and self._fd >= 0:
            self._disk.drain(self._fd)

    def wait(self, timeout_s: float) -> None:
        """Block until notified, for `timeout_s` or for `BACKSTOP_S`, whichever ends first."""
        if self._disk.wait_readable(self._fd, min(timeout_s, BACKSTOP_S)):
            self._disk.drain(self._fd)

    def after_fork(self) -> None:
        """Close the FIFO, which the child must not keep alive for its parent; see
        `Forkable`.
        """
        self._is_forked = True
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        if self._fd >= 0:
            self._board.free_slot(self._slot, self._fd)
        self._fd = self._slot = -1
