"""Answer a view: computed in a thread; if that takes long, the head of the page is sent before.

So a browser paints within milliseconds, with or without JavaScript, whatever the view reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from rdv.analysis.charts import Report
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.errors import NothingRecorded, RequestNotFound
from rdv.console.page.errors import Busy, ForeignForm, WritingOff
from rdv.console.page.shell import closing, opening
from rdv.errors import ConflictFault, DataFault, InputFault, RdvError

QUICK_S = 0.15
"""How long the head of a page waits for its content, so that most pages come in one piece."""
THREADS_MAX = 4
WAITING_MAX = 100
"""The maximum number of views that wait for a thread; more are refused."""

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class Elsewhere:
    """What a view returns instead of a report if another address has it."""

    url: str


Found = Report | Elsewhere


@dataclass
class Threads:
    """Runs functions in a few threads. For one event loop."""

    _limiter: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(THREADS_MAX)
    )
    _waiting: int = 0

    async def run(self, function: Callable[[], _T]) -> _T:
        """Return what the function returns. Raises Busy if too many wait already."""
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._waiting -= 1


async def respond(
    threads: Threads, request: Request, decision: str, path: str, title: str,
    make: Callable[[], Found],
) -> Response:  # fmt: skip
    """Answer with the report that `make` returns; an error of rdv becomes a page as well."""
    del request
    task = asyncio.ensure_future(threads.run(lambda: _made(make)))
    task.add_done_callback(_looked_at)
    done, _ = await asyncio.wait({task}, timeout=QUICK_S)
    if done:
        try:
            status, found = task.result()
        except Busy as error:
            status, found = 503, error_report(error)
        if isinstance(found, Elsewhere):
            return RedirectResponse(found.url, 303, headers=SECURITY)
        text = opening(found.title, decision, path) + found.inner() + closing()
        return HTMLResponse(text, status, headers=SECURITY)

    async def parts() -> AsyncIterator[str]:
        yield opening(title, decision, path)
        try:
            _, found = await task
        except Busy as error:
            found = error_report(error)
        if isinstance(found, Elsewhere):
            link = Report(title)
            link.add(tag("p", tag("a", "It is here.", href=found.url)))
            found = link
        yield found.inner() + closing()

    return StreamingResponse(parts(), media_type="text/html; charset=utf-8", headers=SECURITY)


async def respond_part(threads: Threads, make: Callable[[], Markup]) -> Response:
    """Answer with a part of a page; an error of rdv becomes a part as well."""

    def made() -> tuple[int, Markup]:
        try:
            return 200, make()
        except RdvError as error:
            return _status(error), error_report(error).summary()

    try:
        status, found = await threads.run(made)
    except Busy as error:
        status, found = 503, error_report(error).summary()
    return HTMLResponse(found, status, headers=SECURITY)


def _looked_at(task: asyncio.Future[Any]) -> None:
    """Take the result of a page whose reader has gone, so that asyncio does not complain."""
    if not task.cancelled():
        task.exception()


def _made(make: Callable[[], Found]) -> tuple[int, Found]:
    try:
        return 200, make()
    except NothingRecorded:
        report = Report("Nothing is recorded yet")
        report.paragraphs(
            ["As soon as the decision has answered its first requests, they appear here."]
        )
        return 200, report
    except RdvError as error:
        return _status(error), error_report(error)


def error_report(error: RdvError) -> Report:
    """Return a page that says what is wrong, and what to do."""
    report = Report("That did not work")
    report.verdict(error.text(), "bad")
    if hint := error.hint():
        report.paragraphs([hint])
    return report


def _status(error: RdvError) -> int:
    if isinstance(error, RequestNotFound):
        return 404
    if isinstance(error, WritingOff | ForeignForm):
        return 403
    kinds = ((InputFault, 400), (ConflictFault, 409), (DataFault, 500))
    return next((status for kind, status in kinds if isinstance(error, kind)), 503)
