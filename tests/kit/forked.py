"""Fork rdv's components from one process, as `rdv serve` does: a new interpreter takes 300 ms."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from functools import cache

from waiting import DEADLINE_S

from rdv.serve.supervisor.starter import ForkServer
from rdv.system.orphans import adopt_orphans


class Forked:
    """Is for a forked child what subprocess.Popen is for one that was started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            fd = os.pidfd_open(self.pid)
            try:
                ended = select.select([fd], [], [], timeout)[0]
            finally:
                os.close(fd)
            if not ended:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self.poll()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[None, None]:
        self.wait(timeout)
        return None, None

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """Owns the fork server of this test process, which ends with it."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._server = ForkServer(self._environment)
        end_s = time.monotonic() + DEADLINE_S
        while not self._server.is_ready():
            assert time.monotonic() < end_s, "the fork server does not start"
            time.sleep(0.01)

    def fork(self, arguments: list[str]) -> Forked | None:
        """Fork a component; None where its environment would not be that of this process."""
        if self._environment.keys() - os.environ.keys():
            return None
        changed = dict(os.environ.items() - self._environment.items())
        nothing = os.open(os.devnull, os.O_RDWR)
        adopt_orphans()
        try:
            return Forked(self._server.fork(arguments, changed, nothing, nothing))
        finally:
            os.close(nothing)
            leave_orphans()


def leave_orphans() -> None:
    """End the effect of `adopt_orphans`: tests expect that orphans go to process 1."""
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@cache
def server() -> Server:
    return Server()


def start_component(arguments: list[str]) -> Forked | subprocess.Popen[bytes]:
    """Start `rdv component` without standard streams."""
    forked = server().fork(arguments) if sys.platform == "linux" else None
    if forked is not None:
        return forked
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "rdv", "component", *arguments], stdout=nothing, stderr=nothing
    )
