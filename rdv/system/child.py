"""A child process in a session of its own: its start, its end, and when to start it again.

On Linux the kernel ends a child with the thread that has started it (prctl(2), PR_SET_PDEATHSIG),
so that it cannot outlive a process that is killed. That needs the C extension: the request must be
made in the child before it executes the program, and Python code must not run there while other
threads hold locks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from rdv.native import NATIVE
from rdv.system.processes import await_end

FIRST_DELAY_MS, DELAY_MS_MAX = 100, 10_000
_LOOK_S = 0.01


def restart_delay_ms(
    failures: int, first_ms: float = FIRST_DELAY_MS, longest_ms: float = DELAY_MS_MAX
) -> float:
    """Return how long to wait before a restart; `failures` are those before the present one.

    The first restart is at once (a killed process should cost no more than its start), then after
    `first_ms`, twice, four times as long …, at most `longest_ms`. Pure.
    """
    # 2**20 is far beyond the limit already; a float cannot hold 2**1024.
    return min(longest_ms, first_ms * 2 ** min(failures - 1, 20)) if failures else 0


def how_it_ended(code: int | None) -> str:
    """Return a sentence for an exit code as `subprocess` has it; None: only its stdout ended."""
    if code is None:
        return "it closed its stdout"
    if code >= 0:
        return f"it ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


Start = Callable[[int, int], int]
"""Starts a process in a session of its own, with these descriptors as stdin and stdout, and returns
its pid. Raises OSError.
"""


class ChildProcess:
    """A process that runs in its own session, with pipes for stdin and stdout. For one thread.

    `stdin` and `stdout` are this process's ends, which do not block.
    """

    def __init__(self, start: Start) -> None:
        """Start it. Raises what `start` raises."""
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        try:
            self.pid = start(stdin, stdout)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        os.set_blocking(self.stdin, False)
        os.set_blocking(self.stdout, False)
        self._code: int | None = None

    def exit_code(self) -> int | None:
        """Return its exit code (negative: the signal that ended it); None while it runs.

        What it has started in its session is killed with it.
        """
        if self._code is None:
            try:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    # Its zombie keeps the number of the group from being reused until `waitpid`.
                    self.signal_group(signal.SIGKILL)
                    self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # another part of this process has waited for it
                self._code = 0
        return self._code

    def has_exited(self) -> bool:
        """Return whether it has ended by now."""
        return self.exit_code() is not None

    def ends_within(self, timeout_s: float) -> bool:
        """Wait until it has ended; return False after `timeout_s`."""
        if not self.has_exited() and not await_end(self.pid, timeout_s):
            until_s = time.monotonic() + timeout_s
            while not hasattr(os, "pidfd_open") and time.monotonic() < until_s:
                if self.has_exited():
                    break
                time.sleep(_LOOK_S)
        return self.has_exited()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the whole group: a shell's children would otherwise survive it.

        Does nothing once its exit code is known: the number may belong to other processes by then.
        """
        if self._code is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def end(self, *grace: signal.Signals | None, grace_s: float = 1.0) -> str:
        """End it with its process group, and return how it ended.

        Its stdin is closed. Then it gets `grace_s` for each of `grace`: a signal that is sent to
        the group first, or None to wait only. What is left gets SIGKILL.
        """
        self.close_stdin()
        for number in grace:
            if number is not None:
                self.signal_group(number)
            if self.ends_within(grace_s):
                break
        code = self.exit_code()
        self.signal_group(signal.SIGKILL)
        self.ends_within(grace_s)
        self.close()
        return how_it_ended(code)

    def close_stdin(self) -> None:
        """Close this process's end of its stdin. May be called again."""
        if self.stdin >= 0:
            os.close(self.stdin)
        self.stdin = -1

    def close(self) -> None:
        """Close this process's ends of the pipes. May be called again."""
        self.close_stdin()
        if self.stdout >= 0:
            os.close(self.stdout)
        self.stdout = -1


class Program(ChildProcess):
    """A child that runs a program."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: str = ".",
        environment: Mapping[str, str] | None = None,
        stderr: int = 2,
        pass_fd: int = -1,
        ends_with_parent: bool = True,
    ) -> None:
        """Start it. Raises OSError, and ValueError for a NUL in a word.

        `environment` is this process's own unless given. `stderr` becomes its stderr; it also gets
        `pass_fd`, by the same number. With `ends_with_parent` it is killed when the calling thread
        ends (Linux, with the C extension).
        """
        end_signal = signal.SIGKILL if ends_with_parent else 0
        super().__init__(
            lambda *pipes: start_program(
                command, directory, environment, [*pipes, stderr, pass_fd], end_signal
            )
        )


def start_program(
    command: Sequence[str],
    directory: str,
    environment: Mapping[str, str] | None,
    fds: list[int],
    end_signal: int = 0,
) -> int:
    """Return the pid of a new process. Raises OSError.

    `fds` become its stdin, stdout and stderr; it also gets the fourth one, if that is not -1.
    `end_signal` is sent to it when the calling thread ends.
    """
    if NATIVE is None or sys.platform != "linux":
        popen = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=fds[0],
            stdout=fds[1],
            stderr=fds[2],
            pass_fds=fds[3:] if fds[3] >= 0 else (),
            start_new_session=True,
        )
        popen.returncode = 0  # this module waits for it
        return popen.pid
    name = command[0]
    folders = [""] if os.sep in name else os.get_exec_path(environment)
    variables = None
    if environment is not None:
        variables = [os.fsencode(f"{key}={value}") for key, value in environment.items()]
    pid = NATIVE.spawn(
        [os.fsencode(os.path.join(folder, name)) for folder in folders],
        [os.fsencode(word) for word in command],
        variables,
        os.fsencode(directory),
        fds,
        end_signal,
    )
    if pid < 0:
        missing = directory if not os.path.isdir(directory) else name
        raise OSError(-pid, os.strerror(-pid), missing)
    return pid
