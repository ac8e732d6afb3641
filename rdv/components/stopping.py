"""Stopping a process that waits for descriptors: signals become a readable one."""

from __future__ import annotations

import contextlib
import os
import signal


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
            self.stop()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)

    def stop(self) -> None:
        """From any thread."""
        self.stopping = True
        self.wake()

    def close(self) -> None:
        """Once nobody wakes it any more."""
        os.close(self._reader)
        os.close(self._writer)
