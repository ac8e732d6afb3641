"""Run a program to its end, within a time limit, together with all processes that it starts.

The program leads a process group. The whole group is killed when the program ends, when the time is
over, and when this process ends in whatever way: a process of the group waits for that.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from rdv.system.child import Program

KEPT_BYTES_MAX = 16 * 1024 * 1024
"""The maximum bytes of each output that are kept: those at its end."""
LINE_BYTES_MAX = 64 * 1024
GRACE_S = 1.0
"""The time that the group has to end after SIGTERM, before SIGKILL."""
_READ_BYTES = 64 * 1024
_READS_AFTER_END_MAX = 64
_LOOK_MS = 50
"""How often to check for the end of the program where there are no pidfds (macOS)."""
_GUARD = 'read -r _; kill -s KILL -- "-$1"'


class Ended(NamedTuple):
    """Describes how a program ended: `code` is negative for a signal."""

    code: int
    output: bytes
    problem: bytes
    """What it wrote to stderr."""
    by_us: Literal["", "timeout", "stop"] = ""
    """Why this process ended it, if it did."""

    def last_line(self, otherwise: str) -> str:
        """Return the last line that it wrote to stderr."""
        lines = self.problem.decode("utf-8", "backslashreplace").strip().splitlines()
        return lines[-1].strip() if lines else otherwise


def run_program(
    command: Sequence[str],
    *,
    timeout_s: float,
    directory: str = ".",
    environment: Mapping[str, str] | None = None,
    stop: int = -1,
    show: Callable[[str], None] | None = None,
) -> Ended:
    """Run a program with an empty stdin, and return how it ended and what it wrote.

    A descriptor `stop` that becomes readable ends it early. `show` gets each line of both outputs
    as it is written. Raises OSError when the program cannot be started. Any exception, such as
    KeyboardInterrupt, ends the program first.
    """
    until_s = time.monotonic() + timeout_s
    ours, theirs = os.pipe()
    try:
        program = Program(command, directory=directory, environment=environment, stderr=theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        program.close_stdin()
        os.set_blocking(ours, False)
        with _guard(program.pid):
            try:
                outputs = _Outputs({program.stdout: bytearray(), ours: bytearray()}, show)
                by_us = outputs.read(program, stop, until_s)
                if by_us:
                    program.signal_group(signal.SIGTERM)
                    program.ends_within(GRACE_S)
            finally:
                program.signal_group(signal.SIGKILL)
                program.ends_within(GRACE_S)
        outputs.read_rest()
        output, problem = (bytes(one) for one in outputs.kept.values())
        code = program.exit_code()
        return Ended(-signal.SIGKILL if code is None else code, output, problem, by_us)
    finally:
        program.end()
        os.close(ours)


@contextlib.contextmanager
def _guard(group: int) -> Iterator[None]:
    """Kill the process group when this process ends within the block."""
    theirs, ours = os.pipe()
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(group)],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        yield
    finally:
        guard.kill()  # before the end of its pipe shows: then it does not signal the group
        guard.wait()
        os.close(ours)


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    """Yield a descriptor that is readable once the process has ended; -1 where there is none."""
    fd = -1
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)


class _Outputs:
    """Reads the outputs of a program."""

    def __init__(self, kept: dict[int, bytearray], show: Callable[[str], None] | None) -> None:
        self.kept = kept
        """What each descriptor gave."""
        self._open = set(kept)
        self._show = show
        self._lines = dict.fromkeys(kept, b"")

    def read(self, program: Program, stop: int, until_s: float) -> Literal["", "timeout", "stop"]:
        """Read until the program has ended, or is to be ended; return why."""
        poller = select.poll()
        for fd in self._open:
            poller.register(fd, select.POLLIN)
        if stop >= 0:
            poller.register(stop, select.POLLIN)
        with _pidfd(program.pid) as pidfd:
            if pidfd >= 0:
                poller.register(pidfd, select.POLLIN)
            while (left_s := until_s - time.monotonic()) > 0:
                ready = {fd for fd, _ in poller.poll(left_s * 1000 if pidfd >= 0 else _LOOK_MS)}
                for fd in self._open & ready:
                    if not self._read_once(fd):
                        poller.unregister(fd)
                if stop in ready:
                    return "stop"
                if (pidfd < 0 or pidfd in ready) and program.has_exited():
                    return ""
        return "timeout"

    def read_rest(self) -> None:
        """Read what the ended program has left in the pipes.

        A process that has left the group may hold them open, and write for ever.
        """
        for fd in list(self._open):
            with contextlib.suppress(BlockingIOError):
                for _ in range(_READS_AFTER_END_MAX):
                    if not self._read_once(fd, is_last=True):
                        break
        for fd, line in self._lines.items():
            if line:
                self._pass_on(fd, b"\n")

    def _read_once(self, fd: int, *, is_last: bool = False) -> bool:
        """Return whether there may be more. Raises BlockingIOError only with `is_last`."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            if is_last:
                raise
            return True
        if not data:
            self._open.discard(fd)
            return False
        kept = self.kept[fd]
        kept += data
        if len(kept) > 2 * KEPT_BYTES_MAX:
            del kept[:-KEPT_BYTES_MAX]
        self._pass_on(fd, data)
        return True

    def _pass_on(self, fd: int, data: bytes) -> None:
        if self._show is None:
            return
        *lines, rest = (self._lines[fd] + data).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        self._lines[fd] = rest
        for line in lines:
            self._show(line.decode("utf-8", "backslashreplace").rstrip())
