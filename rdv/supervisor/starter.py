"""Starts the processes of a decision, with the fork server where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Self

from rdv.clean_environment import clean_environment
from rdv.supervisor.fork_server import ForkServer, ForkServerLost
from rdv.supervisor.forking import COMMAND
from rdv.supervisor.leftovers import VARIABLE
from rdv.supervisor.orphans import adopt_orphans

PARENT_PIPE = "RDV_PARENT_PIPE"
"""The child's stdin is a pipe without data: its end shows that the parent is gone."""

READY_TIMEOUT_S = 10.0


class Started(NamedTuple):
    """Holds the pid of a started process, and the supervisor's ends of its pipes."""

    pid: int
    stdin: int
    stdout: int


class Starter:
    """Starts processes of `rdv component` as children of this one. For one thread.

    Where forking does not work (on systems other than Linux, while the fork server loads, or after
    it has been killed) a new interpreter is started instead.
    """

    def __init__(self, marker: str = "") -> None:
        """Start the fork server; all processes get `marker` as their RDV_RUN."""
        self._marker = marker
        self._can_fork = adopt_orphans()
        self._server: ForkServer | None = None
        self._begin()

    def _begin(self) -> None:
        if self._can_fork:
            try:
                self._server = ForkServer(self._environment())
            except OSError:
                self._server = None

    async def ready(self) -> None:
        """Wait until forking works, for at most READY_TIMEOUT_S."""
        if self._server is not None:
            await self._server.ready(READY_TIMEOUT_S)

    def start(self, arguments: Sequence[str], env: Collection[str] = ()) -> Started:
        """Start a process; `env` names variables of this process that it gets besides the usual
        ones.

        Raises OSError when it cannot be made.
        """
        server = self._server
        more = {name: os.environ[name] for name in env if name in os.environ}
        try:
            if server is not None and server.is_ready():
                return _with_pipes(lambda *pipes: server.fork(arguments, more, *pipes))
        except ForkServerLost:
            self.close()
            self._begin()
        environment = {**self._environment(), **more}
        return _with_pipes(lambda *pipes: _spawn(arguments, environment, *pipes))

    def _environment(self) -> dict[str, str]:
        return {**clean_environment(os.environ), VARIABLE: self._marker, PARENT_PIPE: "1"}

    def own_pids(self) -> set[int]:
        """Return the fork server, while it lives: a child that is not part of the decision."""
        server = self._server
        return {server.pid} if server is not None and server.is_alive() else set()

    def close(self) -> None:
        """Start no more processes; those that were started live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with_pipes(make: Callable[[int, int], int]) -> Started:
    """Make new pipes for each attempt: a process of a failed one finds the end of its stdin."""
    stdin, our_stdin = os.pipe()
    our_stdout, stdout = os.pipe()
    try:
        pid = make(stdin, stdout)
    except BaseException:
        os.close(our_stdin)
        os.close(our_stdout)
        raise
    finally:
        os.close(stdin)
        os.close(stdout)
    return Started(pid, our_stdin, our_stdout)


def _spawn(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int
) -> int:
    """Start a new interpreter. Not by `subprocess`, which would wait for its end itself."""
    copies = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((stdin, 0), (stdout, 1), (stdout, 2))]
    command = [*COMMAND, *arguments]
    return os.posix_spawn(COMMAND[0], command, environment, file_actions=copies, setsid=True)
