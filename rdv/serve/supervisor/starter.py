"""Starts the processes of a decision: by the fork server (`forking`), or as new interpreters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self, TypeVar

from rdv.serve.supervisor.forking import COMMAND, READY, TITLE_ROOM
from rdv.serve.supervisor.leftovers import VARIABLE
from rdv.system.child import ChildProcess, Start, start_program
from rdv.system.environment import clean_environment
from rdv.system.orphans import PARENT_PIPE, adopt_orphans

FORK_TIMEOUT_S = 2.0
"""A fork takes milliseconds. A server that does not answer within this time is given up."""

_ANSWER_BYTES = 64

READY_TIMEOUT_S = 10.0


class ForkServerLost(Exception):
    """The fork server has been killed, or does not answer."""


class ForkServer:
    """Manages a process that forks others, which become children of the supervisor.

    For one thread.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        """Start it. Raises OSError when the process cannot be made."""
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link.setblocking(False)
        self._is_ready = False
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*COMMAND, "forkserver", TITLE_ROOM],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,
                )
        except OSError:
            self._link.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, timeout_s: float) -> None:
        """Wait until it can fork, or has ended, or for `timeout_s`."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError, OSError):
            answer = await asyncio.wait_for(loop.sock_recv(self._link, _ANSWER_BYTES), timeout_s)
            self._is_ready = answer == READY

    def is_ready(self) -> bool:
        """Return whether it has loaded everything. Raises ForkServerLost."""
        if not self._is_ready:
            try:
                self._is_ready = self._link.recv(_ANSWER_BYTES) == READY
            except BlockingIOError:
                return False
            except OSError as error:
                raise ForkServerLost from error
            if not self._is_ready:
                raise ForkServerLost
        return True

    def is_alive(self) -> bool:
        """Return whether the process runs; reaps it when it has ended."""
        return self._process.poll() is None

    def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int
    ) -> int:
        """Fork a process and return its pid.

        Its arguments follow `rdv component`; `environment` is added to the server's own. To be
        called when `is_ready`. Raises OSError when the process cannot be made, and ForkServerLost;
        a process that was made all the same ends when its stdin does.
        """
        variables = [f"{name}={value}" for name, value in environment.items()]
        words = (str(len(arguments)), *arguments, *variables)
        message = b"".join(os.fsencode(word) + b"\0" for word in words)
        self._link.settimeout(FORK_TIMEOUT_S)
        try:
            socket.send_fds(self._link, [message], [stdin, stdout])
            answer = self._link.recv(_ANSWER_BYTES)
        except OSError as error:
            raise ForkServerLost from error
        if not answer:
            raise ForkServerLost
        pid = int(answer)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    def close(self) -> None:
        """End it. The processes that it has forked live on."""
        self._link.close()
        self._process.kill()
        self._process.wait()


_C = TypeVar("_C", bound=ChildProcess)


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

    def start(
        self, arguments: Sequence[str], env: Collection[str], make: Callable[[Start], _C]
    ) -> _C:
        """Start a process; `env` names variables of this process that it gets besides the usual
        ones.

        `make` makes the child from the function that starts it, with new pipes for each attempt: a
        process of a failed one finds the end of its stdin. Raises OSError when it cannot be made.
        """
        server = self._server
        more = {name: os.environ[name] for name in env if name in os.environ}
        try:
            if server is not None and server.is_ready():
                return make(lambda *pipes: server.fork(arguments, more, *pipes))
        except ForkServerLost:
            self.close()
            self._begin()
        command, environment = [*COMMAND, *arguments], {**self._environment(), **more}
        return make(
            lambda stdin, stdout: start_program(
                command, ".", environment, [stdin, stdout, stdout, -1]
            )
        )

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
