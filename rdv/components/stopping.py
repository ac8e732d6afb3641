"""Stopping a process that waits in `select`: signals become a readable descriptor."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable


class Waker:
    """A descriptor that other threads and signal handlers make readable."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.stopping = False

    def fileno(self) -> int:
        return self._reader

    def wake(self) -> None:
        """From any thread, or from a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\x01")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT ask for a stop. To be called in the main thread."""

        def ask(signum: int, frame: object) -> None:
            del signum, frame
            self.stopping = True
            self.wake()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)

    def stop(self) -> None:
        self.stopping = True
        self.wake()


class Waiting:
    """Waits for any of some descriptors. One thread."""

    def __init__(self, fds: Iterable[int]) -> None:
        self._poll = select.poll()
        for fd in fds:
            self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_s: float) -> None:
        self._poll.poll(max(0.0, timeout_s) * 1000)
