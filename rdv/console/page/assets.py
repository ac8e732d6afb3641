"""The page's style sheet and its script: addresses with a hash, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rdv.analysis.charts.style import STYLE

_TYPES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}


class Asset(NamedTuple):
    """One file that pages refer to."""

    path: str
    data: bytes


@cache
def asset(name: str) -> Asset:
    """Return `page.css` (with the style of the reports before it) or `page.js`."""
    own = files(__package__).joinpath("static", name).read_text("utf-8")
    data = (STYLE + own if name == "page.css" else own).encode()
    return Asset(f"/assets/{hashlib.sha256(data).hexdigest()[:12]}/{name}", data)


async def serve_asset(request: Request) -> Response:
    """Answer an asset; one of another version of rdv is not found."""
    name = request.path_params["name"]
    found = asset(name) if name in _TYPES else None
    if found is None or found.path != request.url.path:
        raise HTTPException(404)
    forever = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.data, headers=forever, media_type=_TYPES[name])
