"""Implements the supervisor's side of the fork server (`forking` is the other side)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence

from rdv.supervisor.forking import COMMAND, READY
from rdv.supervisor.title import ROOM

FORK_TIMEOUT_S = 2.0
"""A fork takes milliseconds. A server that does not answer within this time is given up."""

_ANSWER_BYTES = 64


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
                    [*COMMAND, "forkserver", ROOM],
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
            said = await asyncio.wait_for(loop.sock_recv(self._link, _ANSWER_BYTES), timeout_s)
            self._is_ready = said == READY

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
