"""Serve the copy by `rdv serve` in a separate process, and know the pids of its parts.

The process ends when the drill ends, however it ends: its shell reads from a pipe of the drill, and
the end of that pipe stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from rdv.decision import Decision
from rdv.errors import RdvError
from rdv.load.drill.plan import CopyNotServed
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.rendezvous.topology import STATUS_TOPIC
from rdv.status.lines import read_status
from rdv.stream import open_stream, pass_over

START_S = 60.0
OTHERS_S = 10.0
"""How many seconds the other parts get to come up once the proxies are ready; parts that have not
come up by then are left out.
"""
STOP_S = 30.0 + SLA_MS_MAX / 1000
LOOK_S = 0.2
"""How often to read the status, in seconds. A wake-up may be lost when its sender is killed at that
moment, so the status is also polled.
"""
_OUTPUT_BYTES = 4_096
_END_WITH_DRILL = 'exec 3<&0; (cat <&3 >/dev/null; kill -TERM $$) & exec 3<&-; exec "$@" </dev/null'


class CopyServer:
    """The served copy; for one start and stop on the event loop. `pids`: parts that are ready."""

    def __init__(self, decision: Decision, environ: Mapping[str, str], log: IO[bytes]) -> None:
        self._decision = decision
        self._environ = environ
        self._log = log
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.pids: dict[str, int] = {}

    async def start(self, proxies: Iterable[str], others: Iterable[str]) -> list[str]:
        """Start; return the names of `others` that have not come up. Raises CopyNotServed."""
        directory = self._decision.directory
        self._stream = open_stream(
            self._decision.stream_path("control"), config=self._decision.log.stream_config(1)
        )
        self._status = self._stream.consumer([STATUS_TOPIC], start="earliest")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._status.fileno(), self._read)
        self._look()
        self._process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", _END_WITH_DRILL, "sh", sys.executable, "-m", "rdv", "serve", directory,
            stdin=asyncio.subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **self._environ},
            start_new_session=True,
        )  # fmt: skip
        wanted, rest = set(proxies), set(others)
        if not await self._until(lambda: wanted <= self.pids.keys(), START_S):
            raise CopyNotServed(f"was not ready within {START_S:.0f} s", self._last_output())
        await self._until(lambda: rest <= self.pids.keys(), OTHERS_S)
        return sorted(rest - self.pids.keys())

    def pid_of(self, name: str) -> int:
        """Return the pid of a part; 0 if it has none now, or if another process has it by now."""
        pid = self.pids.get(name, 0)
        return pid if pid and _is_part_of(pid, self._decision.directory) else 0

    def running(self) -> list[int]:
        """Return the pids of all running parts."""
        return [pid for name in self.pids if (pid := self.pid_of(name))]

    async def until_new(self, name: str, old_pid: int, timeout_s: float) -> bool:
        """Wait until the part is ready in another process; return False if it is not in time."""
        return await self._until(lambda: self.pids.get(name, old_pid) != old_pid, timeout_s)

    async def _until(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        assert self._process is not None
        end_s = self._loop.time() + timeout_s
        ended = asyncio.ensure_future(self._process.wait())
        try:
            while not is_so():
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                left_s = end_s - self._loop.time()
                await asyncio.wait(
                    (news, ended), timeout=max(0, left_s), return_when=asyncio.FIRST_COMPLETED
                )
                news.cancel()
                if ended.done():
                    raise CopyNotServed("has ended", self._last_output())
                if self._loop.time() >= end_s:
                    return is_so()
        finally:
            ended.cancel()
        return True

    def _look(self) -> None:
        self._read()
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def _read(self) -> None:
        try:
            while records := self._status.poll(500):
                for record in records:
                    line = read_status(record.value)
                    if line is not None and line.state == "ready":
                        self._is_ready(line.name, line.pid)
        except RdvError as error:
            pass_over(self._status, error)  # read again within LOOK_S

    def _is_ready(self, name: str, pid: int) -> None:
        if self.pids.get(name) != pid:
            self.pids[name] = pid
            self._news.set()

    def _last_output(self) -> str:
        self._log.flush()
        with contextlib.suppress(OSError, ValueError), open(self._log.name, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _OUTPUT_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
            errors = [line for line in lines if "error" in line.lower()]
            return (errors or lines or [""])[-1].strip()
        return ""

    async def stop(self) -> None:
        """Shut the copy down in order; kill what has not ended after `STOP_S`. Raises nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._loop.remove_reader(self._status.fileno())
            self._status.close()
            self._stream.close()
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _is_part_of(pid: int, directory: str) -> bool:
    """Return whether the process's command line names the copy; True where there is no /proc."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
    except OSError:
        return not os.path.isdir("/proc/self")
    # A forked process has one text with spaces, another one zero bytes between the words.
    word = re.escape(os.fsencode(directory))
    return re.search(rb"(?:^|[\0 ])" + word + rb"(?:[\0 ]|$)", words) is not None
