"""Divides the time of the loop among clients, so that one client cannot delay all others.

A client may send thousands of requests at once, over many connections. In one turn of the loop it
is served for CLIENT_NS. Connections with further requests wait, and are not read meanwhile. In the
next turn of the loop the waiting clients are served in the order of their arrival, CLIENT_NS each,
and those that are left wait again. No time is lost by that: the loop does not sleep while a
connection waits, and a client that is alone gets all the time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

CLIENT_NS = 2_000_000
"""How long one client is served before the others."""

SLICE_NS = 500_000
"""How long one connection is served before other connections of its client."""

TURN_NS = 4_000_000
"""How long waiting clients are served in one turn of the loop."""

PERIOD_NS = 5_000_000
"""A client that is served for no more than CLIENT_NS in this time does not wait at all."""

DECOMPRESSED_NS = 4
"""What decompressing a byte of a body is counted as, in ns; measured: 3 to 6."""
SMALL_BYTES = 512
SMALL_NS = 20_000
"""The time that a request with a small body counts for; that of larger ones is measured."""


class Waiting(Protocol):
    """The interface of a connection to `Turns`."""

    def go_on(self, now_ns: int) -> None:
        """Serve what has come. The connection may wait again."""


class ClientTurn:
    """Holds the time that one client has left, and its waiting connections. Loop's thread only."""

    __slots__ = ("begun_ns", "connections", "is_queued", "left_ns", "waiting")

    def __init__(self) -> None:
        self.left_ns = CLIENT_NS
        self.begun_ns = 0
        self.connections = 0
        self.waiting: deque[Waiting] = deque()
        self.is_queued = False

    def may_go_on(self, now_ns: int) -> bool:
        """Return whether a client without time left gets more at once."""
        if self.is_queued or now_ns - self.begun_ns < PERIOD_NS:
            return False
        self.left_ns, self.begun_ns = CLIENT_NS, now_ns
        return True


class Turns:
    """Serves the waiting clients of a server. Loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int]) -> None:
        self._loop = loop
        self._now_ns = now_ns
        self._clients: dict[str, ClientTurn] = {}
        self._queue: deque[ClientTurn] = deque()
        self._is_scheduled = False

    def enter(self, client: str) -> ClientTurn:
        """Count a connection; return what it shares with the other connections of its client."""
        turn = self._clients.get(client)
        if turn is None:
            turn = self._clients[client] = ClientTurn()
        turn.connections += 1
        return turn

    def leave(self, client: str, turn: ClientTurn) -> None:
        """Count the end of a connection; harmless for a turn that is not shared."""
        turn.connections -= 1
        if not turn.connections and self._clients.get(client) is turn:
            del self._clients[client]

    def wait(self, turn: ClientTurn, connection: Waiting) -> None:
        """Have the connection go on after other clients."""
        turn.waiting.append(connection)
        if not turn.is_queued:
            turn.is_queued = True
            self._queue.append(turn)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Serve waiting clients for TURN_NS, then let the loop read and write."""
        now_ns = self._now_ns()
        end_ns = now_ns + TURN_NS
        while self._queue and now_ns < end_ns:
            turn = self._queue.popleft()
            now_ns = self._serve_client(turn, now_ns)
            if turn.waiting:
                self._queue.append(turn)
            else:
                turn.is_queued = False
        self._is_scheduled = False
        if self._queue:
            self._schedule()

    def _serve_client(self, turn: ClientTurn, now_ns: int) -> int:
        """Serve connections of one client for CLIENT_NS; return the time after that."""
        turn.begun_ns, end_ns = now_ns, now_ns + CLIENT_NS
        for _ in range(len(turn.waiting)):
            connection = turn.waiting.popleft()
            turn.left_ns = SLICE_NS if turn.waiting else end_ns - now_ns
            connection.go_on(now_ns)
            now_ns = self._now_ns()
            if now_ns >= end_ns:
                break
        return now_ns
