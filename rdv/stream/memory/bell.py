"""A `MemoryBell` lets a consumer of a memory stream wait."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable

from rdv.stream.backend import RING_ORDERS
from rdv.stream.record import TopicPartition


class MemoryBell:
    """A `MemoryBell` is an event for `poll`, and a socket pair once a descriptor is asked for."""

    def __init__(self, waiting: set[MemoryBell]) -> None:
        self._waiting = waiting
        self._mutex = threading.Lock()
        self._event = threading.Event()
        self._is_armed = False
        self.order = RING_ORDERS[-1]
        """The wake-up priority: the consumer that is notified first also gets the interpreter
        first."""
        self._places: frozenset[TopicPartition] | None = None
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def fileno(self) -> int:
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
        return self._pair[0].fileno()

    def listen_to(self, places: Iterable[TopicPartition] | None) -> None:
        self._places = None if places is None else frozenset(places)

    def arm(self, order: int) -> None:
        with self._mutex:
            self.order = order
            self._event.clear()
            self._is_armed = True
            self._waiting.add(self)

    def ring(self, place: TopicPartition | None) -> None:
        """Notify the consumer; writers call this from any thread. None notifies in any case."""
        if place is not None and self._places is not None and place not in self._places:
            return
        with self._mutex:
            if self._is_armed:
                self._is_armed = False
                self._waiting.discard(self)
                self._send()

    def _send(self) -> None:
        self._event.set()
        if self._pair is not None:
            with contextlib.suppress(OSError):
                self._pair[1].send(b"\x01")

    def wake(self) -> None:
        self._send()

    def is_armed(self) -> bool:
        return self._is_armed

    def quiet(self) -> None:
        if self._pair is not None:
            with contextlib.suppress(BlockingIOError):
                self._pair[0].recv(4096)

    def wait(self, timeout_s: float) -> None:
        self._event.wait(timeout_s)

    def close(self) -> None:
        with self._mutex:
            self._is_armed = False
            self._waiting.discard(self)
        for end in self._pair or ():
            end.close()
        self._pair = None
