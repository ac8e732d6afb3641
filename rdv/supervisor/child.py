"""One child process: started, listened to, stopped. Runs on the supervisor's loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

LINE_BYTES_MAX = 64 * 1024
PARENT_PIPE = "RDV_PARENT_PIPE"
"""The child's stdin is a pipe that nobody writes to: its end tells that the parent is gone."""


class Child:
    """A process of `rdv component …`. `ended` is called with its exit code, once."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        *,
        line: Callable[[str], None],
        ended: Callable[[int], None],
    ) -> None:
        self._arguments = arguments
        self._line = line
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Raises OSError when the process cannot be made."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rdv",
            "component",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, PARENT_PIPE: "1"},
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        self._task = asyncio.create_task(self._attend(self._process))

    async def _attend(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self._line("(a line that is too long was left out)")
                continue
            if not line:
                break
            self._line(line.decode("utf-8", "backslashreplace").rstrip("\n"))
        self._ended(await process.wait())

    def signal(self, signum: signal.Signals) -> None:
        """Harmless when the process has ended."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signum)

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it (with all that it started) if it has not by then."""
        if self._process is None or self._task is None:
            return
        self.signal(signal.SIGTERM)
        # A stopped process cannot end: wake it.
        self.signal(signal.SIGCONT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), grace_s)
        if self._process.returncode is None:
            self.kill()
            await self._task

    def kill(self) -> None:
        """SIGKILL to the whole session: commands that a worker has started go with it."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
