"""A reader's own bell on the board."""

from __future__ import annotations

from collections.abc import Iterable

from rdv.stream.errors import Closed
from rdv.stream.file.board import EVERYTHING, Board, mask_of
from rdv.stream.file.disk import Disk
from rdv.stream.file.forks import watch_forks
from rdv.stream.record import TopicPartition

LOOK_NS = 100_000_000
"""How often a reader makes sure that it can still be rung."""

BACKSTOP_S = 0.2
"""The longest wait: a ring may be lost when its ringer is killed in that very instant."""


class Doorbell:
    """Made at the first wait, pollable, one per consumer. Not thread-safe."""

    def __init__(self, board: Board, disk: Disk) -> None:
        self._board = board
        self._disk = disk
        self._slot = self._fd = -1
        self._mask = self._known_mask = 0
        self._is_exposed = self._is_forked = False
        self._epoch = self._look_ns = 0
        watch_forks(self)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the bell is rung (after `arm`)."""
        self._is_exposed = True
        return self._open()

    def _open(self) -> int:
        if self._is_forked:
            raise Closed("consumer", "it was opened before this process was forked off")
        if self._fd < 0:
            self._slot, self._fd = self._board.take_slot()
        return self._fd

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        """Which partitions ring from now on; None means everything."""
        self._mask = EVERYTHING
        if places is not None:
            self._mask = 0
            for place in places:
                self._mask |= mask_of(*place)

    def arm(self, order: int) -> None:
        """Say that we wait. The caller must look once more before it blocks."""
        self._open()
        if self._disk.monotonic_ns() >= self._look_ns or self._epoch != self._board.epoch:
            self._look_after()
        if self._mask != self._known_mask:
            self._board.set_mask(self._slot, self._mask)
            self._known_mask = self._mask
        self._board.set_waiting(self._slot, order)

    def _look_after(self) -> None:
        """Writers must find our FIFO at its path and our mask on the board."""
        self._look_ns = self._disk.monotonic_ns() + LOOK_NS
        self._epoch = self._board.epoch
        if not self._board.is_ours(self._slot, self._fd):
            # Deleted. The number stays the same, for those that watch it (`fileno`).
            self._slot, fd = self._board.take_slot()
            self._disk.dup2(fd, self._fd)
            self._disk.close(fd)
            self._known_mask = 0
            self._disk.ring(self._fd)
        if not self._board.has_mask(self._slot, self._known_mask):
            self._board.set_mask(self._slot, self._mask)
            self._known_mask = self._mask

    def wake(self) -> None:
        """Ring our own bell."""
        self._disk.ring(self._open())

    def is_armed(self) -> bool:
        """Whether the next commit will ring; not once it has been rung."""
        return self._fd >= 0 and self._board.is_waiting(self._slot)

    def quiet(self) -> None:
        """Take the rings out: what they told of is about to be read.

        Only needed for who watches the descriptor: a ring may come late, when what it told of has
        been read already, and would keep it readable.
        """
        if self._is_exposed and self._fd >= 0:
            self._disk.drain(self._fd)

    def wait(self, timeout_s: float) -> None:
        """Block until rung, or for `timeout_s`, or for the backstop, whichever comes first."""
        if self._disk.wait_readable(self._fd, min(timeout_s, BACKSTOP_S)):
            self._disk.drain(self._fd)

    def after_fork(self) -> None:
        """See backend.Forkable: the child must not keep the FIFO of its parent alive."""
        self._is_forked = True
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        if self._fd >= 0:
            self._board.free_slot(self._slot, self._fd)
        self._fd = self._slot = -1
