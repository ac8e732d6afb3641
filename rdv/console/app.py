"""The console's web application: `/metrics`, and the page's routes."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rdv.console.access import AccessMiddleware, AccessRules
from rdv.console.console import Console
from rdv.console.exposition import exposition
from rdv.console.page import routes


def make_app(console: Console, host: str = "127.0.0.1") -> Starlette:
    """Return the application of a console that listens on `host`.

    Raises InvalidDecision, see `console_access`.
    """
    rules = AccessRules(lambda: console.decision, host)

    def metrics(request: Request) -> Response:
        """Return all metrics; runs in a thread of its own."""
        with console.lock:
            body, content_type = exposition(console, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/livez", livez),
            *routes(console),
        ],
        middleware=[Middleware(AccessMiddleware, access=rules.now)],
    )
