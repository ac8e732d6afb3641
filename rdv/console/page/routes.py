"""The addresses of the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rdv.analysis.charts.markup import Markup
from rdv.console.console import Console
from rdv.console.page.assets import serve_asset
from rdv.console.page.forms import checked, read_form
from rdv.console.page.parts import decision_path
from rdv.console.page.respond import SECURITY, Elsewhere, Found, Threads, respond, respond_part
from rdv.console.page.site import Site
from rdv.console.page.streams import Broadcast, EventStream, Streams
from rdv.console.page.views.decision import decision_view
from rdv.console.page.views.decisions import Search, decisions_view
from rdv.console.page.views.models import KeptView, models_view, tell_outcome
from rdv.console.page.views.now import now_part, now_report
from rdv.console.page.views.race import Race, race_part, race_report
from rdv.console.page.views.records import Wanted, records_view
from rdv.console.page.views.whatif import Tries, figures_part, save_schedule, whatif_view
from rdv.live import EVERY_S


class Pages:
    """Answers each address by its view."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._threads = Threads()
        self._live_threads = Threads()  # views that read much do not hold these up
        self._tries = Tries()
        self._models = KeptView()
        self._race = Race(site.console)
        self._streams = Streams()
        self._broadcasts: dict[str, Broadcast] = {}

    async def _view(
        self, request: Request, path: str, title: str, make: Callable[[], Found]
    ) -> Response:
        return await respond(self._threads, request, self.site.name, path, title, make)

    async def now(self, request: Request) -> Response:
        return await self._view(request, "/", "Now", lambda: now_report(self.site.console))

    async def now_events(self, request: Request) -> Response:
        del request
        return self._events("now", lambda: now_part(self.site.console))

    async def race(self, request: Request) -> Response:
        make = lambda: race_report(self.site.console, self._race)  # noqa: E731
        return await self._view(request, "/race", "The race", make)

    async def race_events(self, request: Request) -> Response:
        del request
        return self._events("race", lambda: race_part(self.site.console, self._race))

    def _events(self, name: str, make: Callable[[], Markup]) -> Response:
        """Answer with the events of a view, which is computed once for all who look."""
        if self._streams.is_full:
            return HTMLResponse("too many viewers\n", 503, {**SECURITY, "Retry-After": "10"})
        if name not in self._broadcasts:
            self._broadcasts[name] = Broadcast(self._live_threads, make, self._next_turn)
        return EventStream(self._streams, self._broadcasts[name].versions())

    async def _next_turn(self) -> None:
        """Wait until the console has read the log again."""
        ticker = self.site.console.ticker
        if ticker is None:
            await asyncio.sleep(EVERY_S)
        else:
            await ticker.after(self.site.console.version)

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

    async def models(self, request: Request) -> Response:
        make = lambda: models_view(self.site, self._models)  # noqa: E731
        return await self._view(request, "/models", "Models", make)

    async def tell_outcome(self, request: Request) -> Response:
        form = await read_form(request)

        def make() -> Found:
            return Elsewhere(decision_path(tell_outcome(self.site, checked(form))))

        return await self._view(request, "/models", "Models", make)

    async def records(self, request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        make = lambda: records_view(self.site, wanted)  # noqa: E731
        return await self._view(request, "/records", "Records", make)


def routes(console: Console) -> list[Route]:
    """Return the routes of the page, for the console's application."""
    pages = Pages(Site(console))
    return [
        Route("/", pages.now),
        Route("/now/events", pages.now_events),
        Route("/race", pages.race),
        Route("/race/events", pages.race_events),
        Route("/decisions", pages.decisions),
        Route("/decisions/{id}", pages.decision),
        Route("/whatif", pages.whatif),
        Route("/whatif/figures", pages.whatif_figures),
        Route("/whatif/save", pages.save_schedule, methods=["POST"]),
        Route("/models", pages.models),
        Route("/outcomes", pages.tell_outcome, methods=["POST"]),
        Route("/records", pages.records),
        Route("/assets/{hash}/{name}", serve_asset),
    ]
