"""The addresses of the page."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rdv.console.page.assets import serve_asset
from rdv.console.page.respond import SECURITY, Found, Threads, respond
from rdv.console.page.site import HasDirectory, Site
from rdv.console.page.views.decision import decision_view
from rdv.console.page.views.decisions import Search, decisions_view


class Pages:
    """Answers each address by its view."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._threads = Threads()

    async def _view(
        self, request: Request, path: str, title: str, make: Callable[[], Found]
    ) -> Response:
        return await respond(self._threads, request, self.site.name, path, title, make)

    async def home(self, request: Request) -> Response:
        del request
        return RedirectResponse("/decisions", 307, headers=SECURITY)

    async def decisions(self, request: Request) -> Response:
        search = Search.of(request.query_params)
        make = lambda: decisions_view(self.site, search)  # noqa: E731
        return await self._view(request, "/decisions", "Decisions", make)

    async def decision(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        make = lambda: decision_view(self.site, id_)  # noqa: E731
        return await self._view(request, "/decisions", "Request", make)


def routes(console: HasDirectory) -> list[Route]:
    """Return the routes of the page, for the console's application."""
    pages = Pages(Site(console))
    return [
        Route("/", pages.home),
        Route("/decisions", pages.decisions),
        Route("/decisions/{id}", pages.decision),
        Route("/assets/{hash}/{name}", serve_asset),
    ]
