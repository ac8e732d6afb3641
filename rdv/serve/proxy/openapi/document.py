"""Build the OpenAPI 3.1 document of a decision, with the schema of its own data. Pure.

Source: https://spec.openapis.org/oas/v3.1.1. Its schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from rdv import __version__
from rdv.codes import HTTP_CODES, HttpCode, ResultCode
from rdv.decision.schema_tree import Node
from rdv.http.head import CHARACTERS_MAX
from rdv.moment import EARLIEST_NS
from rdv.oip.metadata import TensorInfo
from rdv.serve.proxy.idempotency import KEY_CHARACTERS_MAX as IDEMPOTENCY_CHARACTERS_MAX
from rdv.serve.proxy.intake import KEY_CHARACTERS_MAX, MODELS_MAX, NAME_CHARACTERS_MAX
from rdv.serve.proxy.openapi.data import schema_of
from rdv.serve.proxy.openapi.oip import oip_paths, oip_schemas
from rdv.serve.proxy.outcomes import OUTCOMES_MAX

Json = dict[str, Any]

ASKED = {
    "data": "Required. What the models see; any JSON that [schema] allows.",
    "key": "Whose request it is: it chooses the cohort and the partition. At most 1,024 "
    "characters; a whole number counts as its decimal text.",
    "schedule": "A schedule's name, or a whole schedule as an object (`http.inline_schedules`).",
    "deadline_ms": "A shorter SLA for this request.",
    "trace": "Whether the answer says who had reported, and when.",
    "models": "Only these models are asked. At most 256 names.",
}
"""The fields of a request."""

ANSWER = {
    "id": "The request's id: 128 random bits. `rdv explain`, outcomes and the log use it.",
    "result": "The model's result, byte for byte, or the schedule's default.",
    "model": "The model that answered; several joined by `+` when the schedule combines them; "
    "`null` for the default.",
    "version": "The version of that model.",
    "kind": "`preferred`: what the schedule asks for first. `fallback`: another model. `default`: "
    "the constant.",
    "reason": "Why it is not the preferred answer, as a sentence.",
    "code": "The same for programs: one of the [codes](codes.md), empty for the preferred answer.",
    "step": "The step of the schedule that decided, from 1; 0 when no step did.",
    "waited_ms": "Time from the request's arrival to its answer, by the proxy's monotonic clock.",
    "schedule": "Name and content hash of the schedule that decided; `inline@…` for one in the "
    "request.",
    "cohort": "The cohort of the request's key, or `null`.",
    "answered_by": "`server`, or `proxy` when the proxy answered by itself as the last backstop.",
    "trace": 'With `"trace": true` only: who had reported by then, with `model`, `arrived_ms` and '
    "`outcome`.",
    "propensity": "Where a cohort explores: the probability of the schedule that was drawn.",
}
"""The fields of an answer."""


@dataclass(frozen=True)
class Facts:
    """What the document says of one decision."""

    name: str
    schedules: Sequence[str]
    models: Sequence[str]
    default: object
    data: Node | None
    """The declared schema of the data; None where any JSON is taken."""
    example: object
    rows_max: int
    inputs: Sequence[TensorInfo]
    """The input tensors of the Open Inference Protocol."""


def document_of(facts: Facts) -> Json:
    """Return the document; its paths are those of `ProxyProcess`."""
    title = f"Decision {facts.name}"
    text = (
        "Every accepted request is answered within its SLA: by the preferred model, by a fallback, "
        "or by the marked default."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": text},
        "paths": {
            "/v1/decide": {"post": _decide(facts)},
            "/v1/outcomes": {"post": _outcomes()},
            "/livez": {"get": _get("livez", "Whether the proxy runs", ["status"])},
            "/readyz": {"get": _readyz()},
            **oip_paths(facts, _failures, [*_HEADERS, _TRACEPARENT]),
        },
        "components": {"schemas": _schemas(facts)},
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json, **more: Any) -> Json:
    return {"application/json": {"schema": schema, **more}}


def _failures(statuses: Iterable[int], error: Json | None = None) -> Json:
    """Return the refusals by status, each with its codes; `error` is the schema of their body."""
    found: Json = {}
    content = _json(error or _ref("Error"))
    for status in sorted({*statuses, *_ALWAYS}):
        codes = [code for code, (own, _) in HTTP_CODES.items() if own == status]
        text = "; ".join(f"`{code}`: {HTTP_CODES[code][1]}" for code in codes)
        found[str(status)] = {"description": text or "Refused", "content": content}
    return found


_ALWAYS = (400, 403, 404, 405, 408, 411, 413, 414, 415, 417, 421, 431, 500, 501, 503, 505)
"""What the HTTP server may answer to any request."""


def _header(name: str, description: str, characters_max: int) -> Json:
    text = {"type": "string", "minLength": 1, "maxLength": characters_max, "pattern": "^[!-~]+$"}
    return {"name": name, "in": "header", "description": description, "schema": text}


_HEADERS = [
    _header("X-Request-Id", "Recorded, and sent back with the answer.", CHARACTERS_MAX),
    {
        **_header(
            "Idempotency-Key",
            "A repeat with the same key gets the first answer.",
            IDEMPOTENCY_CHARACTERS_MAX,
        ),
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": IDEMPOTENCY_CHARACTERS_MAX,
            "pattern": "^[A-Za-z0-9._-]+$",
        },
    },
]


_TRACEPARENT = {
    "name": "traceparent",
    "in": "header",
    "description": "The caller's trace (W3C Trace Context). A malformed one is ignored.",
    "schema": {
        "type": "string",
        "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$",
        "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
}


def _decide(facts: Facts) -> Json:
    example: Json = {"data": facts.example}
    return {
        "operationId": "decide",
        "summary": "Ask for one decision, or for several at once",
        "parameters": [*_HEADERS, _TRACEPARENT],
        "requestBody": {
            "required": True,
            "content": _json({"oneOf": [_ref("Request"), _ref("Rows")]}, example=example),
        },
        "responses": {
            "200": {
                "description": "The answer, or the answers of the rows in their order",
                "content": _json({"oneOf": [_ref("Answer"), _ref("Answers")]}),
            },
            **_failures((422, 429)),
        },
    }


def _outcomes() -> Json:
    many = {"type": "array", "items": _ref("Outcome"), "maxItems": OUTCOMES_MAX}
    accepted = {"type": "object", "properties": {"accepted": {"type": "integer"}}}
    return {
        "operationId": "outcomes",
        "summary": "Record what turned out to be true of earlier requests",
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": _json({"anyOf": [_ref("Outcome"), many]})},
        "responses": {
            "202": {"description": "All are in the log", "content": _json(accepted)},
            **_failures((422, 429)),
        },
    }


def _get(name: str, summary: str, fields: Sequence[str]) -> Json:
    schema = {
        "type": "object",
        "properties": {field: {} for field in fields},
        "required": list(fields),
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": _json(schema)}, **_failures(())},
    }


def _readyz() -> Json:
    found = _get("readyz", "Which models are up that the live schedule wants", ["status", "up"])
    unready = "No model is up that the live schedule wants, or the proxy is stopping"
    found["responses"]["503"] = {"description": unready, "content": _json({"type": "object"})}
    return found


def _schemas(facts: Facts) -> Json:
    data = {} if facts.data is None else schema_of(facts.data)
    shared = _shared(facts)
    row = {
        "type": "object",
        "properties": {"data": _ref("Data"), "key": shared["key"]},
        "required": ["data"],
        "additionalProperties": False,
    }
    rows = {
        "type": "array",
        "items": {"anyOf": [row, _ref("Data")]},
        "minItems": 1,
        "maxItems": facts.rows_max,
    }
    return {
        "Data": data,
        "Request": _object({"data": _described("data", _ref("Data")), **shared}, ["data"]),
        "Rows": _object({"rows": rows, **shared}, ["rows"]),
        "Answer": _answer(facts),
        "Answers": _object(
            {"answers": {"type": "array", "items": {"anyOf": [_ref("Answer"), _ref("Error")]}}},
            ["answers"],
        ),
        "Outcome": _outcome(),
        "Error": _error(),
        **oip_schemas(facts),
    }


def _object(properties: Mapping[str, Any], required: Sequence[str]) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _described(name: str, schema: Json) -> Json:
    return {**schema, "description": ASKED[name]}


def _shared(facts: Facts) -> Json:
    """Return the fields that a request has besides its data."""
    names = {"type": "string", "enum": list(facts.schedules)}
    model = {"type": "string", "maxLength": NAME_CHARACTERS_MAX, "enum": list(facts.models)}
    key = {"type": ["string", "integer", "null"], "maxLength": KEY_CHARACTERS_MAX}
    return {
        "key": _described("key", key),
        "schedule": _described(
            "schedule", {"anyOf": [names, {"type": "object"}, {"type": "null"}]}
        ),
        "deadline_ms": _described(
            "deadline_ms", {"type": ["number", "null"], "exclusiveMinimum": 0}
        ),
        "trace": _described("trace", {"type": "boolean"}),
        "models": _described(
            "models", {"type": ["array", "null"], "items": model, "maxItems": MODELS_MAX}
        ),
    }


_ANSWER_TYPES: dict[str, Json] = {
    "id": {"type": "string"},
    "model": {"type": ["string", "null"]},
    "version": {"type": ["string", "null"]},
    "kind": {"type": "string", "enum": ["preferred", "fallback", "default"]},
    "reason": {"type": "string"},
    "code": {"type": "string", "enum": list(get_args(ResultCode))},
    "step": {"type": "integer", "minimum": 0},
    "waited_ms": {"type": "number", "minimum": 0},
    "schedule": {"type": "string"},
    "cohort": {"type": ["string", "null"]},
    "answered_by": {"type": "string", "enum": ["server", "proxy"]},
    "trace": {"type": "array", "items": {"type": "object"}},
    "propensity": {"type": "number"},
}


def _answer(facts: Facts) -> Json:
    types = {"result": {"examples": [facts.default]}, **_ANSWER_TYPES}
    properties = {name: {**types[name], "description": text} for name, text in ANSWER.items()}
    required = [name for name in ANSWER if name not in ("trace", "propensity")]
    return _object(properties, required)


def _outcome() -> Json:
    known = "When it was known: ISO 8601 (UTC unless it names a zone), or nanoseconds since 1970."
    properties = {
        "id": {
            "type": "string",
            "pattern": "^[!-~]{1,200}$",
            "description": "The `id` of the answer.",
        },
        "outcome": {"description": "Any JSON; `null` takes an earlier outcome back."},
        "time": {
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": EARLIEST_NS},
                {"type": "null"},
            ],
            "description": known,
        },
    }
    return _object(properties, ["id", "outcome"])


def _error() -> Json:
    inner = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "enum": list(get_args(HttpCode))},
            "message": {"type": "string"},
        },
        "required": ["code", "message"],
    }
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}
