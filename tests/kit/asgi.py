"""Ask an ASGI application without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


class AsgiClient:
    """A client of one application; every request has a loop of its own."""

    def __init__(self, app: Any, base_url: str = "http://127.0.0.1:8180") -> None:
        self._app, self._base_url = app, base_url

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers=headers)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())
