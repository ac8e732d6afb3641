"""Turns the tensors of a request into rows of JSON, and answers into tensors. Pure.

    one BYTES tensor named `data`         each element is the JSON of a row
    tensors of shape [n] or [n, 1]        columns: each row is an object of their values
    tensors of shape [n, k, ...]          as columns, whose values are lists
    one tensor of shape [n, k, ...]       each row is a list

A missing number (null, NaN) becomes null. A BYTES tensor `rdv_key` has the key of each row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from rdv.oip.tensor import DATATYPES, InferRequest, OipError, Tensor, unusable
from rdv.payload import UnusableJson, check_json

DATA, KEY = "data", "rdv_key"
RESULT = "result"


def rows_of(request: InferRequest, rows_max: int) -> list[bytes]:
    """Return the JSON of each row's data. Raises OipError."""
    tensors = _columns(request)
    count = _row_count(tensors, rows_max)
    if len(tensors) == 1 and tensors[0].name == DATA and tensors[0].datatype == "BYTES":
        return [_json_text(number, text) for number, text in enumerate(tensors[0].values)]
    if len(tensors) == 1 and _is_wide(tensors[0]):
        return [orjson.dumps(row) for row in _cells(tensors[0], count)]
    names = [tensor.name for tensor in tensors]
    columns = [_cells(tensor, count) for tensor in tensors]
    return [orjson.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def keys_of(request: InferRequest, count: int) -> list[str | None]:
    """Return the key of each row: from the tensor `rdv_key`, or from the request's parameters.

    Raises OipError.
    """
    for tensor in request.inputs:
        if tensor.name == KEY:
            kind = DATATYPES[tensor.datatype].kind
            if kind not in ("bytes", "int") or len(tensor.values) != count:
                raise OipError(f"input {KEY!r} is no tensor of {count:,} texts or whole numbers")
            return [None if key is None else str(key) for key in tensor.values]
    key = request.parameters.get(KEY)
    if key is not None and type(key) not in (str, int):
        raise OipError(f"the parameter {KEY} is {key!r:.40}, no text and no whole number")
    return [None if key is None else str(key)] * count


def _columns(request: InferRequest) -> list[Tensor]:
    tensors = [tensor for tensor in request.inputs if tensor.name != KEY]
    if not tensors:
        raise OipError("there are no inputs")
    names = {tensor.name for tensor in request.inputs}
    if len(names) != len(request.inputs):
        raise OipError("two inputs have the same name")
    return tensors


def _row_count(tensors: Sequence[Tensor], rows_max: int) -> int:
    """Return the size of the first dimension, which all tensors share."""
    counts = {tensor.shape[0] if tensor.shape else 1 for tensor in tensors}
    if len(counts) > 1:
        shapes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in tensors[:8])
        raise OipError(f"the inputs differ in their first dimension, the rows: {shapes}")
    count = counts.pop()
    if not 0 < count <= rows_max:
        raise OipError(f"there are {count:,} rows; between 1 and {rows_max:,} are taken")
    return count


def _is_wide(tensor: Tensor) -> bool:
    return len(tensor.shape) > 1 and tuple(tensor.shape[1:]) != (1,)


def _cells(tensor: Tensor, count: int) -> list[Any]:
    """Return a tensor's value for each row: a scalar, or a nested list."""
    if not _is_wide(tensor):
        return tensor.values
    values: list[Any] = tensor.values
    for size in reversed(tensor.shape[1:]):
        if not size:
            return [[] for _ in range(count)]
        values = [list(part) for part in _parts(values, size)]
    return values


def _parts(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _json_text(number: int, text: Any) -> bytes:
    """Return the JSON of a row that was given as text. Raises OipError for anything else."""
    what = f"input {DATA!r}: row {number}"
    if text is None:
        raise OipError(f"{what} is null, no text with JSON")
    try:
        return check_json(text.encode())
    except UnusableJson as error:
        raise unusable(what, error) from None


FACTS = (
    "id",
    "kind",
    "model",
    "version",
    "schedule",
    "step",
    "waited_ms",
    "code",
    "reason",
    "cohort",
    "answered_by",
)
"""What an answer says of its decision; `rdv_NAME` is its parameter, or an output on request."""

_FACT_KINDS = {"step": "INT64", "waited_ms": "FP64"}


def outputs_of(answers: Sequence[dict[str, Any]], request: InferRequest) -> list[Tensor]:
    """Return the output tensors of answers: those that are wanted, or one for each field.

    Raises OipError for a wanted output that no answer has.
    """
    known = field_tensors([answer["result"] for answer in answers])
    if not request.outputs:
        return list(known.values())
    found: list[Tensor] = []
    for wanted in request.outputs:
        fact = wanted.name.removeprefix("rdv_")
        if wanted.name in known:
            found.append(known[wanted.name])
        elif wanted.name == RESULT:
            found.append(_texts(RESULT, [answer["result"] for answer in answers]))
        elif fact in FACTS and fact != wanted.name:
            values = [answer[fact] for answer in answers]
            found.append(_fact(wanted.name, values, _FACT_KINDS.get(fact, "BYTES")))
        else:
            names = ", ".join((*known, RESULT, *(f"rdv_{fact}" for fact in FACTS)))
            raise OipError(f"there is no output {wanted.name[:100]!r}; there are {names}")
    return found


def _fact(name: str, values: list[Any], datatype: str) -> Tensor:
    if datatype == "BYTES":
        values = ["" if value is None else str(value) for value in values]
    return Tensor(name, datatype, (len(values), 1), values)


def field_tensors(results: Sequence[Any]) -> dict[str, Tensor]:
    """Return a tensor of shape [n, 1] for each field of results, or one named `result`.

    Numbers are FP64, true and false BOOL, texts BYTES. A field with other values, or with values of
    several kinds, has their JSON as BYTES. A field that a result lacks is NaN or an empty text.
    """
    if not all(isinstance(result, dict) for result in results):
        return {RESULT: _tensor(RESULT, results)}
    names = dict.fromkeys(itertools.chain.from_iterable(results))
    return {name: _tensor(name, [result.get(name) for result in results]) for name in names}


def _tensor(name: str, values: Sequence[Any]) -> Tensor:
    shape = (len(values), 1)
    present = [value for value in values if value is not None]
    if present and all(type(value) in (int, float) for value in present):
        return Tensor(name, "FP64", shape, [None if v is None else float(v) for v in values])
    if len(present) == len(values) and all(type(value) is bool for value in values):
        return Tensor(name, "BOOL", shape, list(values))
    if all(type(value) is str for value in present):
        return Tensor(name, "BYTES", shape, ["" if value is None else value for value in values])
    return _texts(name, values)


def _texts(name: str, values: Sequence[Any]) -> Tensor:
    return Tensor(name, "BYTES", (len(values), 1), [orjson.dumps(v).decode() for v in values])


def parameters_of(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the answers say of their decisions: of several rows as the JSON of a list.

    The values of parameters are scalars in both forms of the protocol.
    """
    if len(answers) == 1:
        return {
            f"rdv_{fact}": value
            for fact in FACTS
            if (value := answers[0][fact]) is not None and value != ""
        }
    text: Callable[[list[Any]], str] = lambda values: orjson.dumps(values).decode()  # noqa: E731
    return {f"rdv_{fact}": text([answer[fact] for answer in answers]) for fact in FACTS}
