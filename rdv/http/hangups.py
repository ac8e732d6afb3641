"""Detects clients that leave while reading from them is paused.

A paused connection (its pipeline is full, or the client does not read its answers) shows neither
the end of the client's side nor a reset. Linux's epoll reports both without reading. On other
systems such a client is noticed at the next read or write.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Protocol


class Watched(Protocol):
    """The interface of a connection to `HangUps`."""

    def hung_up(self, *, is_gone: bool) -> None:
        """Handle that the client sends nothing more; with `is_gone` it does not read, either."""


class HangUps:
    """Watches all paused connections of a server with one epoll. Loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._watched: dict[int, Watched] = {}
        self._fds: dict[Watched, int] = {}
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, connection: Watched, fd: int) -> None:
        """Notify the connection when its client stops sending, and when it has gone."""
        if self._epoll is None or fd < 0:
            return
        self._watched[fd], self._fds[connection] = connection, fd
        with contextlib.suppress(OSError):
            self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def forget(self, connection: Watched) -> None:
        """Stop notifying the connection; harmless when it is not watched."""
        fd = self._fds.pop(connection, -1)
        if fd < 0 or self._epoll is None or self._watched.get(fd) is not connection:
            return  # the descriptor belongs to another connection by now
        del self._watched[fd]
        with contextlib.suppress(OSError):  # it is closed
            self._epoll.unregister(fd)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, events in self._epoll.poll(0):
            connection = self._watched.get(fd)
            if connection is not None:
                # A reset is reported separately, and may still follow.
                with contextlib.suppress(OSError):
                    self._epoll.modify(fd, select.EPOLLONESHOT)
                connection.hung_up(is_gone=bool(events & (select.EPOLLHUP | select.EPOLLERR)))

    def close(self) -> None:
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
