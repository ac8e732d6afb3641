"""Stops a process that waits for descriptors: signals make a descriptor readable."""

from __future__ import annotations

import contextlib
import os
import signal


class Waker:
    """Provides a descriptor that other threads and signal handlers make readable."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.stopping = False

    def fileno(self) -> int:
        return self._reader

    def wake(self) -> None:
        """Make the descriptor readable. For any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\x01")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT. To be called in the main thread."""

        def ask(signum: int, frame: object) -> None:
            del signum, frame
            self.stop()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)

    def stop(self) -> None:
        """Request a stop. For any thread."""
        self.stopping = True
        self.wake()

    def close(self) -> None:
        """Close the descriptors, once no thread calls `wake` any more."""
        os.close(self._reader)
        os.close(self._writer)
