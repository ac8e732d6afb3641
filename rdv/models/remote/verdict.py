"""What the status says: an answer, rows that are refused, or a server that fails. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from rdv.models.model import Cause, one_line
from rdv.models.remote.connection import Response
from rdv.models.remote.protocols import error_text
from rdv.retry_after import retry_after_ms

_ABOUT_ROWS = (400, 413, 415, 422)
"""The statuses that refuse what was sent; 500 does so too, as far as is known."""
_FAILS = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """A `Verdict` says what has become of a request."""

    kind: Literal["answer", "rows", "server"]
    text: str = ""
    cause: Cause = "exception"
    retry_after_ms: int = 0
    is_unsent: bool = False
    """Whether the server has certainly not evaluated anything."""


def verdict_of(response: Response) -> Verdict:
    """Return what an answer means."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004
        return Verdict("answer")
    said = error_text(response.body)
    text = f"{status} {_phrase(status)}" + (f": {said}" if said else "")
    if 300 <= status < 400:  # noqa: PLR2004
        if target := one_line(response.header(b"location")[:200]):
            text += f"; it redirects to {target}: write that into http"
        return Verdict("server", text)
    if status in _ABOUT_ROWS:
        return Verdict("rows", text, "data")
    if status == _FAILS:
        return Verdict("rows", text)
    wait_ms = 0
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait_ms = retry_after_ms(response.header(b"retry-after")) or 0
    return Verdict(
        "server", text, retry_after_ms=wait_ms, is_unsent=status == HTTPStatus.TOO_MANY_REQUESTS
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(unknown)"
