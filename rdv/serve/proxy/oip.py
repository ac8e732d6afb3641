"""Serves the Open Inference Protocol V2 over REST: the decision is a model, its rows are requests.

    GET  /v2   /v2/health/live   /v2/health/ready
    GET  /v2/models/NAME[/versions/SCHEDULE][/ready]
    POST /v2/models/NAME[/versions/SCHEDULE]/infer

A version is the name of a schedule; without one the live schedule (or the key's cohort) decides.
`rdv.serve.grpc` serves the same by gRPC, with `Inference` from here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import orjson

from rdv import __version__
from rdv.codes import HTTP_CODES
from rdv.decision.accepted import Accepted
from rdv.decision.schema_check import read_tree
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.oip.metadata import EXTENSIONS, ModelInfo, input_tensors, output_tensors
from rdv.oip.rest import LENGTH_HEADER, read_request, write_response
from rdv.oip.rows import keys_of, outputs_of, parameters_of, rows_of
from rdv.oip.tensor import InferRequest, InferResponse, OipError

_BINARY = b"application/octet-stream"
_US_PER_MS = 1_000

Respond = Callable[["InferResponse | OipError", "Headers"], None]
Headers = tuple[tuple[bytes, bytes], ...]


def columns_of(schema: str) -> dict[str, str]:
    """Return the type of each column of `Accepted.schema`; empty where none is declared.

    A column that may have several types has the type "any".
    """
    fields = read_tree(schema).fields if schema else {}
    return {name: "any" if len(n.types) != 1 else n.types[0] for name, n in fields.items()}


class Inference:
    """Answers inference requests in either form of the protocol. For the loop's thread."""

    def __init__(
        self,
        decide: Callable[[Any], None],
        accepted: Callable[[], Accepted],
    ) -> None:
        """`accepted` returns the settings in force; `decide` is the proxy's."""
        self._decide = decide
        self._accepted = accepted

    @property
    def name(self) -> str:
        """Return the name of the decision, which is that of the model."""
        return self._accepted().decision.name

    def check(self, name: str, version: str) -> None:
        """Raise OipError for a model or a version that does not exist."""
        if name != self.name:
            message = f"there is no model {name[:100]!r}; the decision is {self.name!r}"
            raise OipError(message, 404, "not_found")
        if version and version not in self._accepted().schedules:
            names = ", ".join(sorted(self._accepted().schedules))
            message = f"there is no version {version[:100]!r}; the schedules are {names}"
            raise OipError(message, 404, "unknown_schedule")

    def info(self, version: str) -> ModelInfo:
        """Return the metadata of the model, or of one of its versions."""
        accepted = self._accepted()
        schedules, live = accepted.schedules, accepted.decision.schedule
        versions = [version] if version else [live, *sorted(schedules.keys() - {live})]
        return ModelInfo(
            self.name,
            versions,
            input_tensors(columns_of(accepted.schema)),
            output_tensors(schedules[version or live].default),
        )

    def infer(self, asker: Any, version: str, request: InferRequest, respond: Respond) -> None:
        """Decide each row of the request, and call `respond` once. Raises OipError.

        `asker` is the HTTP request, or stands for the client of another protocol: it has `client`,
        `connected`, `received_ns` and `token`, and may have `trace`.
        """
        rows = rows_of(request, self._accepted().decision.http.rows_max)
        keys = keys_of(request, len(rows))
        pairs = zip(rows, keys, strict=True)
        body: dict[str, Any] = {
            **_options(request),
            "rows": [
                {"data": orjson.Fragment(row)} if key is None else _keyed(row, key)
                for row, key in pairs
            ],
        }
        if version:
            body["schedule"] = version
        done = partial(self._done, version, request, respond)
        self._decide(RowsRequest(asker, orjson.dumps(body), done))

    def _done(
        self,
        version: str,
        request: InferRequest,
        respond: Respond,
        status: int,
        body: bytes,
        headers: Headers,
    ) -> None:
        """Turn the proxy's answer to the rows into one of the protocol."""
        answer = orjson.loads(body)
        if status != HTTPStatus.OK:
            error = answer["error"]
            respond(OipError(error["message"], status, error["code"]), headers)
            return
        answers = answer["answers"]
        for number, row in enumerate(answers):
            if error := row.get("error"):
                status = HTTP_CODES[error["code"]][0]
                message = f"row {number}: {error['message']}"
                respond(OipError(message, status, error["code"]), ())
                return
        try:
            outputs = outputs_of(answers, request)
        except OipError as error:
            respond(error, ())
            return
        used = version or str(answers[0]["schedule"]).partition("@")[0]
        parameters = parameters_of(answers)
        respond(InferResponse(self.name, used, request.id, outputs, parameters), ())


def _keyed(row: bytes, key: str) -> dict[str, Any]:
    return {"data": orjson.Fragment(row), "key": key}


class RowsRequest:
    """Is to the proxy the HTTP request with the rows of an inference request.

    The client is that of `asker`; the answer goes to `done`.
    """

    json_fault = None

    def __init__(
        self, asker: Any, body: bytes, done: Callable[[int, bytes, Headers], None]
    ) -> None:
        self._asker, self._done = asker, done
        self.body = body
        self.client: str = asker.client
        self.received_ns: int = asker.received_ns
        self.x_request_id: str = getattr(asker, "x_request_id", "")
        self.trace: tuple[str, str] = getattr(asker, "trace", ("", ""))

    @property
    def connected(self) -> bool:
        """Return whether an answer is still needed."""
        return bool(self._asker.connected)

    @property
    def token(self) -> str:
        """Return what the proxy finds the rows by when the client leaves."""
        return str(self._asker.token)

    @token.setter
    def token(self, token: str) -> None:
        self._asker.token = token

    def respond(self, status: int, body: bytes = b"", *, headers: Headers = (), **_: Any) -> None:
        """Pass the answer on."""
        self._done(status, body, tuple(headers))

    def fail(self, failure: Failure) -> None:
        """Pass a refusal on."""
        self.respond(failure.status, failure.body(), headers=failure.headers)


def _options(request: InferRequest) -> dict[str, Any]:
    """Return what the request's parameters ask for. Raises OipError."""
    found: dict[str, Any] = {}
    given = request.parameters
    if (limit := given.get("rdv_deadline_ms")) is not None:
        found["deadline_ms"] = _positive("rdv_deadline_ms", limit)
    elif given.get("timeout"):  # Triton's, in microseconds
        found["deadline_ms"] = _positive("timeout", given["timeout"]) / _US_PER_MS
    if (models := given.get("rdv_models")) is not None:
        if not isinstance(models, str):
            raise OipError(f"the parameter rdv_models is {models!r:.40}: write names with commas")
        found["models"] = [name.strip() for name in models.split(",")]
    return found


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise OipError(f"the parameter {name} is {value!r:.40}, no positive number")
    return float(value)


class OipHandler:
    """Handles all paths below /v2. For the loop's thread."""

    def __init__(self, inference: Inference, is_ready: Callable[[], bool]) -> None:
        self._inference = inference
        self._is_ready = is_ready

    def __call__(self, http: HttpRequest) -> None:
        try:
            self._route(http, [unquote(part) for part in http.path.split("/")[2:] if part])
        except OipError as error:
            _fail(http, error, ())

    def _route(self, http: HttpRequest, parts: list[str]) -> None:
        inference = self._inference
        match parts:
            case []:
                fields = {"name": "rdv", "version": __version__, "extensions": EXTENSIONS}
                _get(http, fields)
            case ["health", "live"]:
                _get(http, {"live": True})
            case ["health", "ready"]:
                self._ready(http, {})
            case ["repository", "index"]:
                _take(http, "POST")
                _answer(http, [{"name": inference.name, "state": "READY", "reason": ""}])
            case ["models", name, *rest]:
                self._model(http, name, rest)
            case _:
                raise _nothing(http)

    def _model(self, http: HttpRequest, name: str, rest: list[str]) -> None:
        version = ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        self._inference.check(name, version)
        if not rest:
            _get(http, self._inference.info(version).fields())
        elif rest == ["ready"]:
            self._ready(http, {"name": name})
        elif rest == ["infer"]:
            _take(http, "POST")
            self._infer(http, version)
        else:
            raise _nothing(http)

    def _ready(self, http: HttpRequest, fields: dict[str, object]) -> None:
        _take(http, "GET")
        is_ready = self._is_ready()
        body = orjson.dumps({**fields, "ready": is_ready})
        http.respond(200 if is_ready else 503, body)

    def _infer(self, http: HttpRequest, version: str) -> None:
        length = http.headers.get(LENGTH_HEADER)
        if http.json_fault is not None and length is None:
            fault = http.json_fault
            raise OipError(fault.message, fault.status, fault.code)
        request = read_request(http.body, length)
        self._inference.infer(http, version, request, partial(_respond, http, request))


def _respond(
    http: HttpRequest, request: InferRequest, found: InferResponse | OipError, headers: Headers
) -> None:
    if isinstance(found, OipError):
        _fail(http, found, headers)
        return
    body, json_length = write_response(found, request)
    if json_length is None:
        http.respond(200, body)
    else:
        line = (b"Inference-Header-Content-Length", b"%d" % json_length)
        http.respond(200, body, content_type=_BINARY, headers=(line,))


def _take(http: HttpRequest, method: str) -> None:
    """Raise OipError for another method."""
    if http.method != method and not (method == "GET" and http.method == "HEAD"):
        message = f"{http.path} does not take {http.method}, only {method}"
        raise OipError(message, 405, "method_not_allowed")


def _get(http: HttpRequest, fields: object) -> None:
    _take(http, "GET")
    _answer(http, fields)


def _answer(http: HttpRequest, fields: object) -> None:
    http.respond(200, orjson.dumps(fields))


def _nothing(http: HttpRequest) -> OipError:
    return OipError(f"there is nothing at {http.path}", 404, "not_found")


def _fail(http: HttpRequest, error: OipError, headers: Headers) -> None:
    """Answer in the protocol's form: the error is a text; the code is ours."""
    if error.code == "method_not_allowed":
        headers = (*headers, (b"Allow", b"GET, POST"))
    body = orjson.dumps({"error": error.message, "code": error.code})
    http.respond(error.status, body, headers=headers)
