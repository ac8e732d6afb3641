"""Manages a listening socket, its connections and an orderly shutdown, and routes exact paths."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.http import failure as fail
from rdv.http.access import ACCEPT_ALL, Access
from rdv.http.connection import Connection
from rdv.http.failure import ServerStarted
from rdv.http.hub import Application, Counters, Departures, Hub, IgnoreDepartures
from rdv.http.limits import Limits
from rdv.http.request import Request

__all__ = ["Application", "Counters", "HttpServer"]

ACCEPTED_MAX = 32
"""The maximum number of connections that are accepted in one turn of the loop."""


Handler = Callable[[Request], None]


class HttpServer:
    """Serves one application on one address. Everything here belongs to the loop's thread.

        server = HttpServer(application)
        host, port = await server.start("127.0.0.1", 0)
        ...
        await server.drain(5.0)

    Exceptions of the application are answered 500 and passed to the loop's exception handler.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits | None = None,
        access: Access = ACCEPT_ALL,
        departures: Departures | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._application = application
        self._limits = limits or Limits()
        self._access = access
        self._departures = departures or IgnoreDepartures()
        self._clock = clock
        self._hub: Hub | None = None
        self._servers: list[asyncio.Server] = []
        self.counters = Counters()

    @property
    def connections_open(self) -> int:
        """Return the number of connections that are being served now."""
        return len(self._hub.connections) if self._hub is not None else 0

    async def start(
        self, host: str, port: int, *, reuse_port: bool = False, backlog: int = 1024
    ) -> tuple[str, int]:
        """Listen; return the address, with the actual port if `port` is 0.

        With `reuse_port` several processes may listen on the port, and the kernel distributes the
        connections. Raises OSError when the address is not available, ServerStarted on a second
        call.
        """
        if self._hub is not None:
            raise ServerStarted
        loop = asyncio.get_running_loop()
        hub = Hub(
            self._application,
            self._limits,
            self._access,
            self._departures,
            self._clock,
            self.counters,
        )
        server = await loop.create_server(
            lambda: Connection(hub), host, port, reuse_port=reuse_port or None, backlog=backlog
        )
        name = server.sockets[0].getsockname()
        self._servers = [server, *await _accept_more(server, lambda: Connection(hub), backlog)]
        self._hub = hub
        return str(name[0]), int(name[1])

    def use(self, access: Access) -> None:
        """Apply these access rules from now on, also to open connections."""
        self._access = access
        if self._hub is not None:
            self._hub.access = access
            self._hub.heads.use(access)
            for connection in self._hub.connections:
                assert isinstance(connection, Connection)
                connection.forget_head()

    def change_limits(self, limits: Limits) -> None:
        """Apply these limits to each request that begins after this, also on open connections.

        A request that is being received keeps the limits that it began with.
        """
        if limits == self._limits:
            return
        self._limits = limits
        if self._hub is None:
            return
        self._hub.change_limits(limits)
        for connection in (*self._hub.connections, *self._hub.refused):
            assert isinstance(connection, Connection)
            connection.change_limits(limits)

    async def drain(self, deadline_s: float) -> int:
        """Stop accepting, answer received requests with `Connection: close`, then end.

        Returns how many connections were cut off after `deadline_s`; 0 is an orderly end. Idle
        connections end at once; a client that is sending a request may finish it. May be called
        again, with a shorter deadline for example.
        """
        if self._hub is None:
            return 0
        hub = self._hub
        hub.draining = True
        for server in self._servers:
            server.close()
        for connection in list(hub.connections):
            assert isinstance(connection, Connection)
            connection.drain()
        left = 0 if await hub.emptied(deadline_s) else len(hub.connections)
        for connection in (*hub.connections, *hub.refused):
            assert isinstance(connection, Connection)
            connection.abort()
        hub.hangups.close()
        return left

    async def close(self) -> None:
        """End now: drain with a deadline of 0."""
        await self.drain(0.0)


async def _accept_more(
    server: asyncio.Server, make: Callable[[], Connection], backlog: int
) -> list[asyncio.Server]:
    """Make further servers on the same listening sockets.

    uvloop accepts one connection for each listening descriptor in a turn of the loop. When turns
    are long, because there are many requests, a new client would wait for as many turns as there
    are connections before its own, and one client can open hundreds.
    """
    loop = asyncio.get_running_loop()
    found: list[asyncio.Server] = []
    try:
        for _ in range(ACCEPTED_MAX - 1):
            for listening in server.sockets:
                copy = socket.socket(fileno=os.dup(listening.fileno()))
                found.append(await loop.create_server(make, sock=copy, backlog=backlog))
    except BaseException:
        for other in (server, *found):
            other.close()
        raise
    return found


class Router:
    """Makes an application of handlers: {path: {method: handler}}. Immutable, thread-safe.

    HEAD is served by GET's handler unless it has its own (the server sends no body); OPTIONS lists
    the allowed methods. Unknown paths are 404, unknown methods of known paths 405 with Allow.
    A handler of `below` ({first segment: handler}) gets all other paths that begin with it, and
    checks path and method itself.
    """

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, Handler]],
        below: Mapping[str, Handler] | None = None,
    ) -> None:
        self._below = dict(below or {})
        self._routes: dict[str, dict[str, Handler]] = {}
        everything = {"OPTIONS"}
        for path, handlers in routes.items():
            table = dict(handlers)
            if "GET" in table:
                table.setdefault("HEAD", table["GET"])
            table.setdefault("OPTIONS", _options(", ".join(sorted({*table, "OPTIONS"}))))
            everything |= table.keys()
            self._routes[path] = table
        self._routes.setdefault("*", {"OPTIONS": _options(", ".join(sorted(everything)))})

    def __call__(self, request: Request) -> None:
        head = request.head
        table = self._routes.get(head.path)
        if table is None:
            below = self._below.get(head.path.split("/", 2)[1]) if head.path[:1] == "/" else None
            if below is not None:
                below(request)
            else:
                request.fail(fail.not_found(head.path))
            return
        handler = table.get(head.method)
        if handler is None:
            allow = ", ".join(sorted(table))
            request.fail(fail.method_not_allowed(head.method, head.path, allow))
            return
        handler(request)


def _options(allow: str) -> Handler:
    headers = ((b"Allow", allow.encode()),)

    def answer(request: Request) -> None:
        request.respond(204, headers=headers)

    return answer
