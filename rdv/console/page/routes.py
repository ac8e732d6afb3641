"""The addresses of the page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rdv.console.page.assets import serve_asset
from rdv.console.page.forms import checked, read_form
from rdv.console.page.respond import SECURITY, Elsewhere, Found, Threads, respond, respond_part
from rdv.console.page.site import HasDirectory, Site
from rdv.console.page.views.decision import decision_view
from rdv.console.page.views.decisions import Search, decisions_view
from rdv.console.page.views.whatif import Tries, figures_part, save_schedule, whatif_view


class Pages:
    """Answers each address by its view."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._threads = Threads()
        self._tries = Tries()

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

    async def whatif(self, request: Request) -> Response:
        query = request.query_params
        make = lambda: whatif_view(self.site, self._tries, query)  # noqa: E731
        return await self._view(request, "/whatif", "What if", make)

    async def whatif_figures(self, request: Request) -> Response:
        query = request.query_params
        return await respond_part(
            self._threads, lambda: figures_part(self.site, self._tries, query)
        )

    async def save_schedule(self, request: Request) -> Response:
        form = await read_form(request)

        def make() -> Found:
            query = urlencode({"schedule": save_schedule(self.site, checked(form))})
            return Elsewhere(f"/whatif?{query}")

        return await self._view(request, "/whatif", "What if", make)


def routes(console: HasDirectory) -> list[Route]:
    """Return the routes of the page, for the console's application."""
    pages = Pages(Site(console))
    return [
        Route("/", pages.home),
        Route("/decisions", pages.decisions),
        Route("/decisions/{id}", pages.decision),
        Route("/whatif", pages.whatif),
        Route("/whatif/figures", pages.whatif_figures),
        Route("/whatif/save", pages.save_schedule, methods=["POST"]),
        Route("/assets/{hash}/{name}", serve_asset),
    ]
