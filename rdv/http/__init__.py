"""Serves HTTP/1.1 with asyncio and httptools, with a limit on every resource. For the hot path.

It does not depend on the rest of rdv.

    server = HttpServer(Router({"/echo": {"POST": lambda r: r.respond(200, r.body)}}))
    await server.start("127.0.0.1", 0)
    ...
    await server.drain(deadline_s=5.0)

The server calls the application on the loop, synchronously, once for each complete request. The
application may answer at once, or later from any callback of the same loop.
"""

from __future__ import annotations

from rdv.http.access import Access, make_access
from rdv.http.failure import (
    AnsweredTwice,
    Failure,
    InvalidHeader,
    InvalidLimit,
    ServerStarted,
    error_body,
)
from rdv.http.limits import Limits
from rdv.http.request import Request
from rdv.http.server import Application, Counters, HttpServer, Router

__all__ = [
    "Access", "AnsweredTwice", "Application", "Counters", "Failure", "HttpServer", "InvalidHeader",
    "InvalidLimit", "Limits", "Request", "Router", "ServerStarted", "error_body", "make_access",
]  # fmt: skip
