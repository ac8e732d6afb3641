"""Read a form that was sent to be written, and only from this page."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request

from rdv.console.page.errors import ForeignForm, FormIncomplete, FormTooLarge
from rdv.errors import RdvError

BYTES_MAX = 256 * 1024
FIELDS_MAX = 10_000
FORM_S = 20.0
"""How long a form may take to arrive."""


async def read_form(request: Request) -> QueryParams | RdvError:
    """Return the fields, or why they cannot be used: ForeignForm, FormTooLarge, FormIncomplete.

    The console's rules for Host and Origin have passed before. Here the origin must be this very
    page, by whatever name it was opened.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return ForeignForm(origin)
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return ForeignForm(site)
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BYTES_MAX:
                    return FormTooLarge(BYTES_MAX)
    except TimeoutError:
        return FormIncomplete(FORM_S)
    if body.count(b"&") > FIELDS_MAX:
        return FormTooLarge(BYTES_MAX)
    return QueryParams(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def checked(form: QueryParams | RdvError) -> QueryParams:
    """Return the fields. Raises what is wrong with the form."""
    if isinstance(form, RdvError):
        raise form
    return form
