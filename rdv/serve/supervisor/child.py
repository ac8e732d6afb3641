"""Reads the output of a child process as lines of bounded length, and stops it. For one loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from rdv.serve.supervisor.starter import Started

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


class Child:
    """Manages a process of `rdv component …`. `reap` calls `ended` once, with its exit code."""

    def __init__(
        self,
        started: Started,
        *,
        line: Callable[[str], None],
        ended: Callable[[int], None],
    ) -> None:
        self._on_line = line
        self._on_ended = ended
        self._splitter = LineSplitter()
        self.pid, self._stdin, self._pipe = started
        os.set_blocking(self._pipe, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pipe, self._read)
        self._is_over = asyncio.Event()

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._pipe)
        for text in self._splitter.feed(data):
            self._on_line(text)

    def reap(self) -> None:
        """Check whether it has ended; called when any child has (SIGCHLD)."""
        if self._is_over.is_set() or not self._has_exited():
            return
        # What it has started (the command of a model) is killed with it. Its own zombie keeps the
        # number of the group from being reused until `wait`.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._drain()
        self._is_over.set()
        self._on_ended(code)

    def _has_exited(self) -> bool:
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, how) is not None

    def _drain(self) -> None:
        """Read the last output, which is still in the pipe."""
        self._loop.remove_reader(self._pipe)
        with contextlib.suppress(OSError):
            while data := os.read(self._pipe, _READ_BYTES):
                for text in self._splitter.feed(data):
                    self._on_line(text)
        for text in self._splitter.end():
            self._on_line(text)
        os.close(self._stdin)
        os.close(self._pipe)

    async def stop(self, grace_s: float) -> None:
        """Send SIGTERM; after `grace_s`, kill it with all that it started."""
        self._signal(signal.SIGTERM)
        # A stopped process cannot end: continue it.
        self._signal(signal.SIGCONT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), grace_s)
        self.kill()
        await self._is_over.wait()

    def _signal(self, signum: signal.Signals) -> None:
        if not self._is_over.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        """Send SIGKILL to the whole session, including the commands that a worker has started."""
        if not self._is_over.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
