"""A process of the supervisor: its output as lines of bounded length, its stop. For one loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from rdv.system.child import ChildProcess, Start

LINE_BYTES_MAX = 16 * 1024
_CUT = "… (the rest of this line was left out)"
_READ_BYTES = 64 * 1024


class LineSplitter:
    """Collects bytes and returns complete lines; a line that is too long is cut."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._max = line_bytes_max
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        lines = [self._shown(line) for line in complete]
        if complete and self._is_skipping:
            # The end of a line that was cut and returned already.
            del lines[0]
            self._is_skipping = False
        if len(self._rest) > self._max:
            if not self._is_skipping:
                lines.append(self._shown(self._rest))
            self._is_skipping = True
            self._rest = b""
        return lines

    def end(self) -> list[str]:
        """Return the rest when the pipe has ended."""
        rest, self._rest = self._rest, b""
        return [self._shown(rest)] if rest and not self._is_skipping else []

    def _shown(self, line: bytes) -> str:
        text = line[: self._max].decode("utf-8", "backslashreplace").rstrip("\r")
        return text + _CUT if len(line) > self._max else text


class Child(ChildProcess):
    """A process of `rdv component …`. `reap` calls `ended` once, with its exit code."""

    def __init__(
        self, start: Start, *, line: Callable[[str], None], ended: Callable[[int], None]
    ) -> None:
        """Start it. `line` is called with each line of its output. Raises what `start` raises."""
        super().__init__(start)
        self._on_line = line
        self._on_ended = ended
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.stdout, self._read)
        self._is_over = asyncio.Event()

    def _read(self) -> None:
        try:
            data = os.read(self.stdout, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self.stdout)
        for text in self._splitter.feed(data):
            self._on_line(text)

    def reap(self) -> None:
        """Check whether it has ended; called when any child has (SIGCHLD)."""
        if self._is_over.is_set() or (code := self.exit_code()) is None:
            return
        self._drain()
        self._is_over.set()
        self._on_ended(code)

    def _drain(self) -> None:
        """Read the last output, which is still in the pipe."""
        self._loop.remove_reader(self.stdout)
        with contextlib.suppress(OSError):
            while data := os.read(self.stdout, _READ_BYTES):
                for text in self._splitter.feed(data):
                    self._on_line(text)
        for text in self._splitter.end():
            self._on_line(text)
        self.close()

    async def stop(self, grace_s: float) -> None:
        """Send SIGTERM; after `grace_s`, kill it with all that it started."""
        # A stopped process cannot end: continue it.
        for number in (signal.SIGTERM, signal.SIGCONT):
            if not self._is_over.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), grace_s)
        self.kill()
        await self._is_over.wait()

    def kill(self) -> None:
        """Send SIGKILL to the whole session, including the commands that a worker has started."""
        self.signal_group(signal.SIGKILL)
