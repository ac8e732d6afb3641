"""Clients that leave while nothing is read from them.

A connection that is not read (its pipeline is full, or it does not take its answers) shows neither
the end of its client's side nor a reset. Linux's epoll tells both without reading; elsewhere such
a client is noticed when it is read or written to again.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Protocol


class Watched(Protocol):
    """A connection, as the watch sees it."""

    def hung_up(self, *, is_gone: bool) -> None:
        """The client sends nothing more; `is_gone`: and reads nothing, either."""


class HangUps:
    """One epoll for all connections of a server that are not read. Loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._watched: dict[int, Watched] = {}
        self._fds: dict[Watched, int] = {}
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, connection: Watched, fd: int) -> None:
        """Tell the connection when its client sends no more, and when it has gone."""
        if self._epoll is None or fd < 0:
            return
        self._watched[fd], self._fds[connection] = connection, fd
        with contextlib.suppress(OSError):
            self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def forget(self, connection: Watched) -> None:
        """Tell it no more; harmless when it is not watched."""
        fd = self._fds.pop(connection, -1)
        if fd < 0 or self._epoll is None or self._watched.get(fd) is not connection:
            return  # the descriptor is another connection's by now
        del self._watched[fd]
        with contextlib.suppress(OSError):  # it is closed
            self._epoll.unregister(fd)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, events in self._epoll.poll(0):
            connection = self._watched.get(fd)
            if connection is not None:
                # A reset is told by itself, and may follow yet.
                with contextlib.suppress(OSError):
                    self._epoll.modify(fd, select.EPOLLONESHOT)
                connection.hung_up(is_gone=bool(events & (select.EPOLLHUP | select.EPOLLERR)))

    def close(self) -> None:
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
