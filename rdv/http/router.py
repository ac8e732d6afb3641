"""Routes exact paths to handlers; other requests are answered 404 or 405."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rdv.http import failure as fail
from rdv.http.request import Request

Handler = Callable[[Request], None]


class Router:
    """Makes an application of handlers: {path: {method: handler}}. Immutable, thread-safe.

    HEAD is served by GET's handler unless it has its own (the server sends no body); OPTIONS lists
    the allowed methods. Unknown paths are 404, unknown methods of known paths 405 with Allow.
    """

    def __init__(self, routes: Mapping[str, Mapping[str, Handler]]) -> None:
        self._routes: dict[str, dict[str, Handler]] = {}
        everything = {"OPTIONS"}
        for path, handlers in routes.items():
            table = dict(handlers)
            if "GET" in table:
                table.setdefault("HEAD", table["GET"])
            table.setdefault("OPTIONS", _options(", ".join(sorted({*table, "OPTIONS"}))))
            everything |= table.keys()
            self._routes[path] = table
        self._routes.setdefault("*", {"OPTIONS": _options(", ".join(sorted(everything)))})

    def __call__(self, request: Request) -> None:
        head = request.head
        table = self._routes.get(head.path)
        if table is None:
            request.fail(fail.not_found(head.path))
            return
        handler = table.get(head.method)
        if handler is None:
            allow = ", ".join(sorted(table))
            request.fail(fail.method_not_allowed(head.method, head.path, allow))
            return
        handler(request)


def _options(allow: str) -> Handler:
    headers = ((b"Allow", allow.encode()),)

    def answer(request: Request) -> None:
        request.respond(204, headers=headers)

    return answer
