"""Starts the processes of a decision: forked off a fork server where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

from rdv.supervisor.fork_server import ForkServer, ForkServerLost
from rdv.supervisor.forking import COMMAND
from rdv.supervisor.orphans import adopt_orphans

PARENT_PIPE = "RDV_PARENT_PIPE"
"""The child's stdin is a pipe that nobody writes to: its end tells that the parent is gone."""

READY_TIMEOUT_S = 10.0


class Started(NamedTuple):
    """A process that has been started, and our ends of its pipes."""

    pid: int
    stdin: int
    stdout: int


class Starter:
    """Starts processes of `rdv component`, children of this one. For one thread.

    Where forking does not work (anywhere but on Linux, or while the fork server loads, or after it
    has been killed) a process is started the long way, by a new interpreter.
    """

    def __init__(self) -> None:
        self._can_fork = adopt_orphans()
        self._server: ForkServer | None = None
        self._begin()

    def _begin(self) -> None:
        if self._can_fork:
            try:
                self._server = ForkServer(_environment())
            except OSError:
                self._server = None

    async def ready(self) -> None:
        """Wait until forking works, but not for long."""
        if self._server is not None:
            await self._server.ready(READY_TIMEOUT_S)

    def start(self, arguments: Sequence[str]) -> Started:
        """Raises OSError when the process cannot be made."""
        server = self._server
        try:
            if server is not None and server.is_ready():
                return _with_pipes(arguments, server.fork)
        except ForkServerLost:
            self.close()
            self._begin()
        return _with_pipes(arguments, _spawn)

    def own_pids(self) -> set[int]:
        """The fork server, while it lives: a child that is no part of the decision."""
        server = self._server
        return {server.pid} if server is not None and server.is_alive() else set()

    def close(self) -> None:
        """No more processes are started; those that were live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Make = Callable[[Sequence[str], int, int], int]


def _with_pipes(arguments: Sequence[str], make: _Make) -> Started:
    """Pipes of its own for each attempt: one that comes to nothing finds its stdin at an end."""
    stdin, our_stdin = os.pipe()
    our_stdout, stdout = os.pipe()
    try:
        pid = make(arguments, stdin, stdout)
    except BaseException:
        os.close(our_stdin)
        os.close(our_stdout)
        raise
    finally:
        os.close(stdin)
        os.close(stdout)
    return Started(pid, our_stdin, our_stdout)


def _spawn(arguments: Sequence[str], stdin: int, stdout: int) -> int:
    """A new interpreter. Not by `subprocess`, which would want to wait for its end itself."""
    copies = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((stdin, 0), (stdout, 1), (stdout, 2))]
    command = [*COMMAND, *arguments]
    return os.posix_spawn(COMMAND[0], command, _environment(), file_actions=copies, setsid=True)


def _environment() -> dict[str, str]:
    return {**os.environ, PARENT_PIPE: "1"}
