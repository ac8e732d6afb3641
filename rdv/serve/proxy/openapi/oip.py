"""Describes the paths of the Open Inference Protocol, with the decision's own tensors. Pure.

A schema cannot say that a tensor has as many values as its shape: such a body is refused with 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, get_args
from urllib.parse import quote

import orjson

from rdv.codes import HttpCode
from rdv.oip.metadata import TensorInfo
from rdv.oip.rows import DATA, KEY
from rdv.oip.tensor import DATATYPES

Json = dict[str, Any]

_VALUES = {
    "bool": {"type": ["boolean", "null"]},
    "int": {"type": ["integer", "null"]},
    "float": {"type": ["number", "null"]},
    "bytes": {"type": ["string", "null"]},
}
"""The JSON of a value of each kind of datatype."""

_ACCEPTED = {"bool": ("bool",), "int": ("int",), "float": ("float", "int"), "bytes": ("bytes",)}
"""The kinds of datatypes that fit a column of a kind."""

_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class Documented(Protocol):
    """What this part of the document is about: `document.Facts` has it."""

    @property
    def name(self) -> str: ...
    @property
    def schedules(self) -> Sequence[str]: ...
    @property
    def inputs(self) -> Sequence[TensorInfo]: ...
    @property
    def example(self) -> object: ...
    @property
    def rows_max(self) -> int: ...


def oip_paths(facts: Documented, failures: Any, headers: Sequence[Json]) -> Json:
    """Return the paths below /v2.

    `failures` returns the refusals of statuses, with a schema of their body; `headers` are the
    parameters of requests that may be repeated.
    """

    def refused(*statuses: int) -> Json:
        found: Json = failures(statuses, _ref("OipError"))
        return found

    def get(name: str, summary: str, schema: str, *more: int, **parameters: Any) -> Json:
        answer = {"description": summary, "content": _json(_ref(schema))}
        return {
            "get": {
                "operationId": name,
                "summary": summary,
                **parameters,
                "responses": {"200": answer, **refused(*more)},
            }
        }

    def ready(name: str, summary: str, **parameters: Any) -> Json:
        found = get(name, summary, "OipReady", **parameters)
        unready = {"description": "It is not ready, or the server refuses", "content": _json({})}
        found["get"]["responses"]["503"] = unready
        return found

    def infer(name: str, summary: str, parameters: Sequence[Json], **more: Any) -> Json:
        answer = {
            "description": "The tensors of the answers; in binary where that is asked for",
            "content": {**_json(_ref("InferResponse")), **_BINARY},
        }
        return {
            "post": {
                "operationId": name,
                "summary": summary,
                "parameters": [*parameters, *headers],
                "requestBody": {"required": True, "content": _json(_ref("InferRequest"), **more)},
                "responses": {"200": answer, **refused(422, 429)},
            }
        }

    model = f"/v2/models/{quote(facts.name, safe='')}"
    version = f"{model}/versions/{{version}}"
    of_version = [_version(facts.schedules)]
    return {
        "/v2": get("oip_server", "Name, version and extensions of the server", "OipServer"),
        "/v2/health/live": get("oip_live", "Whether the proxy runs", "OipLive"),
        "/v2/health/ready": ready("oip_ready", "Whether requests can be answered"),
        model: get("oip_model", "The decision as a model: its tensors", "OipModel"),
        f"{model}/ready": ready("oip_model_ready", "Whether the decision is ready"),
        f"{model}/infer": infer(
            "oip_infer", "Decide each row of the tensors", [], example=_example(facts)
        ),
        version: get("oip_version", "A schedule as a version", "OipModel", parameters=of_version),
        f"{version}/ready": ready(
            "oip_version_ready", "Whether the decision is ready", parameters=of_version
        ),
        f"{version}/infer": infer("oip_version_infer", "Decide each row by a schedule", of_version),
        "/v2/repository/index": _index(refused),
    }


def oip_schemas(facts: Documented) -> Json:
    """Return the schemas that these paths refer to."""
    codes = {"type": "string", "enum": list(get_args(HttpCode))}
    scalars = {"type": ["string", "number", "boolean"]}
    parameters = {"type": "object", "additionalProperties": scalars}
    columns = {f"Tensor {tensor.name}": _column(tensor, facts.rows_max) for tensor in facts.inputs}
    tensors = [*columns.values(), _column(TensorInfo(KEY, "BYTES"), facts.rows_max), _ref("Tensor")]
    request = {
        "inputs": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": tensors},
            "description": f"At most {facts.rows_max:,} rows, which all tensors have.",
        },
        "id": {"type": "string"},
        "parameters": {
            **parameters,
            "properties": {
                "rdv_key": {"type": ["string", "integer"]},
                "rdv_models": {"type": "string", "description": "Names with commas."},
                "rdv_deadline_ms": {"type": "number", "exclusiveMinimum": 0},
                "binary_data_output": {"type": "boolean"},
            },
        },
        "outputs": {
            "type": "array",
            "items": _open({"name": {"type": "string"}, "parameters": parameters}, ["name"]),
        },
    }
    output = {
        "name": {"type": "string"},
        "shape": _SHAPE,
        "datatype": {"enum": list(DATATYPES)},
        "data": {"type": "array"},
    }
    tensor = _open(
        {"name": {"type": "string"}, "datatype": {"type": "string"}, "shape": {"type": "array"}},
        ["name", "datatype", "shape"],
    )
    return {
        "InferRequest": _open(request, ["inputs"]),
        "Tensor": _tensor({"type": "string"}, list(DATATYPES), _SHAPE, {}),
        "InferResponse": _open(
            {
                "model_name": {"const": facts.name},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "parameters": parameters,
                "outputs": {"type": "array", "items": _open(output, ["name", "shape", "datatype"])},
            },
            ["model_name", "model_version", "parameters", "outputs"],
        ),
        "OipServer": _open(
            {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "extensions": {"type": "array", "items": {"type": "string"}},
            },
            ["name", "version", "extensions"],
        ),
        "OipLive": _open({"live": {"type": "boolean"}}, ["live"]),
        "OipReady": _open({"name": {"type": "string"}, "ready": {"type": "boolean"}}, ["ready"]),
        "OipModel": _open(
            {
                "name": {"const": facts.name},
                "versions": {"type": "array", "items": {"enum": list(facts.schedules)}},
                "platform": {"type": "string"},
                "inputs": {"type": "array", "items": tensor},
                "outputs": {"type": "array", "items": tensor},
            },
            ["name", "versions", "platform", "inputs", "outputs"],
        ),
        "OipError": _open({"error": {"type": "string"}, "code": codes}, ["error", "code"]),
    }


def _index(refused: Any) -> Json:
    entry = _open(
        {name: {"type": "string"} for name in ("name", "version", "state", "reason")},
        ["name", "version", "state", "reason"],
    )
    summary = "The decision and its schedules, as a repository of models"
    return {
        "post": {
            "operationId": "oip_index",
            "summary": summary,
            "requestBody": {"content": _json(_open({"ready": {"type": "boolean"}}, []))},
            "responses": {
                "200": {
                    "description": summary,
                    "content": _json({"type": "array", "items": entry}),
                },
                **refused(422),
            },
        }
    }


_SHAPE: Json = {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 16}


def _column(tensor: TensorInfo, rows_max: int) -> Json:
    """Return the schema of a column: a tensor with this name, and a row for each request."""
    kinds = _ACCEPTED[DATATYPES[tensor.datatype].kind]
    datatypes = [name for name, datatype in DATATYPES.items() if datatype.kind in kinds]
    rows = {"type": "integer", "minimum": 1, "maximum": rows_max}
    shape = {
        "type": "array",
        "prefixItems": [rows, {"const": 1}],
        "items": False,
        "minItems": 1,
        "maxItems": 2,
        "examples": [[1, 1]],
    }
    value = _VALUES[DATATYPES[tensor.datatype].kind]
    datatypes.sort(key=lambda name: name != tensor.datatype)  # that of the metadata comes first
    return _tensor({"const": tensor.name}, datatypes, shape, value)


def _tensor(name: Json, datatypes: Sequence[str], shape: Json, value: Json) -> Json:
    properties = {
        "name": name,
        "datatype": {"enum": list(datatypes)},
        "shape": shape,
        "data": {
            "type": "array",
            "items": {"anyOf": [value, {"type": "array"}]} if value else {},
            "description": "The values in row-major order, flat or nested.",
        },
    }
    return _open(properties, ["name", "datatype", "shape", "data"])


def _example(facts: Documented) -> Json:
    """Return an inference request with the sample request of the decision as its row."""
    values = {"bool": True, "int": 1, "float": 0.5, "bytes": "a"}
    sample = facts.example if isinstance(facts.example, dict) else {}
    tensors = []
    for tensor in facts.inputs:
        value = sample.get(tensor.name, values[DATATYPES[tensor.datatype].kind])
        if tensor == TensorInfo(DATA, "BYTES"):
            value = orjson.dumps(facts.example).decode()
        tensors.append(
            {"name": tensor.name, "shape": [1, 1], "datatype": tensor.datatype, "data": [value]}
        )
    return {"inputs": tensors}


def _version(schedules: Sequence[str]) -> Json:
    schema = {"type": "string", "enum": list(schedules)}
    text = "The name of a schedule."
    return {
        "name": "version", "in": "path", "required": True, "description": text, "schema": schema,
    }  # fmt: skip


def _open(properties: Mapping[str, Any], required: Sequence[str]) -> Json:
    """Return the schema of an object that may have further fields."""
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json, **more: Any) -> Json:
    return {"application/json": {"schema": schema, **more}}
