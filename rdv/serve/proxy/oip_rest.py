"""Serves the Open Inference Protocol V2 over REST, at the port of the proxy.

    GET  /v2   /v2/health/live   /v2/health/ready
    GET  /v2/models/NAME[/versions/SCHEDULE][/ready]
    POST /v2/models/NAME[/versions/SCHEDULE]/infer
    POST /v2/repository/index

The paths of Triton's other extensions are refused, each with the name of its extension.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from rdv import __version__
from rdv.http import Request as HttpRequest
from rdv.oip.metadata import EXTENSIONS, PLATFORM
from rdv.oip.rest import LENGTH_HEADER, read_request, write_response
from rdv.oip.tensor import InferRequest, InferResponse, OipError, not_served, unusable
from rdv.payload import UnusableJson, read_json
from rdv.serve.proxy.oip import Headers, Inference

_BINARY = b"application/octet-stream"

_NOT_SERVED = {
    "systemsharedmemory": "shared memory",
    "cudasharedmemory": "shared memory",
    "trace": "trace",
    "logging": "logging",
    "load": "model control",
    "unload": "model control",
    "config": "model configuration",
    "stats": "statistics",
    "generate": "generate",
    "generate_stream": "generate",
}
"""The extension of each path, by the segment that is peculiar to it."""


class _Route(NamedTuple):
    """Is what a path leads to: the method that it takes, and what answers."""

    method: str
    answer: Callable[[HttpRequest], None]


class OipHandler:
    """Handles all paths below /v2. For the loop's thread."""

    def __init__(self, inference: Inference, is_ready: Callable[[], bool]) -> None:
        self._inference = inference
        self._is_ready = is_ready

    def __call__(self, http: HttpRequest) -> None:
        try:
            route = self._route(http, [unquote(part) for part in http.path.split("/")[2:] if part])
            if http.method == "OPTIONS":
                http.respond(204, headers=(_allowed(route.method),))
            elif http.method == route.method or (http.method, route.method) == ("HEAD", "GET"):
                route.answer(http)
            else:
                message = f"{http.path} does not take {http.method}, only {route.method}"
                error = OipError(message, 405, "method_not_allowed")
                _fail(http, error, (_allowed(route.method),))
        except OipError as error:
            _fail(http, error, ())

    def _route(self, http: HttpRequest, parts: list[str]) -> _Route:
        """Return where a path leads. Raises OipError for one that leads nowhere."""
        match parts:
            case []:
                fields = {"name": PLATFORM, "version": __version__, "extensions": EXTENSIONS}
                return _fixed(fields)
            case ["health", "live"]:
                return _fixed({"live": True})
            case ["health", "ready"]:
                return _Route("GET", partial(self._ready, {}))
            case ["repository", "index"]:
                return _Route("POST", self._index)
            case ["models", "stats"] if self._inference.name != "stats":
                raise _nothing(http, parts)
            case ["models", name, *rest]:
                return self._model(http, name, rest)
        raise _nothing(http, parts)

    def _model(self, http: HttpRequest, name: str, rest: list[str]) -> _Route:
        version, what = "", rest
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, what = rest[1], rest[2:]
        self._inference.check(name, version)
        match what:
            case []:
                return _fixed(self._inference.info(version).fields())
            case ["ready"]:
                return _Route("GET", partial(self._ready, {"name": name}))
            case ["infer"]:
                return _Route("POST", partial(self._infer, version))
        raise _nothing(http, what)

    def _ready(self, fields: dict[str, object], http: HttpRequest) -> None:
        is_ready = self._is_ready()
        body = orjson.dumps({**fields, "ready": is_ready})
        http.respond(200 if is_ready else 503, body)

    def _index(self, http: HttpRequest) -> None:
        """Answer the index of the model repository; `{"ready": true}` leaves out what is not."""
        _check_json_head(http)
        try:
            wanted = read_json(http.body) if http.body.strip() else {}
        except UnusableJson as error:
            raise unusable("the body", error) from None
        only_ready = wanted.get("ready", False) if isinstance(wanted, dict) else None
        if type(only_ready) is not bool:
            raise OipError('the body does not fit: it is {"ready": true}, {"ready": false} or {}')
        found = self._inference.index(is_ready=self._is_ready(), only_ready=only_ready)
        http.respond(200, orjson.dumps(found))

    def _infer(self, version: str, http: HttpRequest) -> None:
        length = http.headers.get(LENGTH_HEADER)
        if length is None:
            _check_json_head(http)
        request = read_request(http.body, length)
        self._inference.infer(http, version, request, partial(_respond, http, request))


def _nothing(http: HttpRequest, parts: list[str]) -> OipError:
    """Return the refusal of a path, which names the extension that it belongs to."""
    for part in parts:
        if extension := _NOT_SERVED.get(part):
            return not_served(extension, f"{http.path} is a path of it")
    return OipError(f"there is nothing at {http.path}", 404, "not_found")


def _check_json_head(http: HttpRequest) -> None:
    """Raise OipError where the head says that the body is not JSON."""
    if (fault := http.json_fault) is not None:
        raise OipError(fault.message, fault.status, fault.code)


def _respond(
    http: HttpRequest, request: InferRequest, found: InferResponse | OipError, headers: Headers
) -> None:
    if isinstance(found, OipError):
        _fail(http, found, headers)
        return
    body, json_length = write_response(found, request)
    more: dict[str, Any] = {}
    if json_length is not None:
        line = (b"Inference-Header-Content-Length", b"%d" % json_length)
        more = {"content_type": _BINARY, "headers": (line,)}
    http.respond(200, body, may_compress=True, **more)


def _fixed(fields: object) -> _Route:
    return _Route("GET", lambda http: http.respond(200, orjson.dumps(fields)))


def _allowed(method: str) -> tuple[bytes, bytes]:
    methods = ("GET", "HEAD", "OPTIONS") if method == "GET" else (method, "OPTIONS")
    return b"Allow", ", ".join(methods).encode()


def _fail(http: HttpRequest, error: OipError, headers: Headers) -> None:
    """Answer in the protocol's form: the error is a text; the code is ours."""
    body = orjson.dumps({"error": error.message, "code": error.code})
    http.respond(error.status, body, headers=headers)
