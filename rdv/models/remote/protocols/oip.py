"""The Open Inference Protocol V2: the columns of the rows as named tensors, or as one tensor. Pure.

The server's metadata says which: one input of shape [-1, k] takes all columns, in the order of the
setting `columns`; several inputs take a column each, by name. Without metadata the columns are sent
by name, and their datatypes are those of their values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import orjson

from rdv.models.remote.protocols.base import (
    Answers,
    BadAnswer,
    BadRows,
    Codec,
    decode,
    decode_with_nan,
    need_count,
)
from rdv.models.remote.settings import Settings

TENSORS_MAX = 10_000


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    datatype: str = ""
    shape: list[int] = []
    data: Any = None


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""
    versions: list[str] | None = None
    inputs: list[_Tensor] | None = None


class _Answer(msgspec.Struct, frozen=True):
    outputs: list[_Tensor]
    model_version: str | None = None


class _Column(NamedTuple):
    name: str
    datatype: str
    is_flat: bool
    """Whether its shape is [n], not [n, 1]."""


class OipCodec(Codec):
    """Sends and reads JSON tensors."""

    needs_metadata = True

    def __init__(self, model: str, settings: Settings, result_bytes_max: int) -> None:
        super().__init__(model, settings, result_bytes_max)
        self.metadata_path = f"/v2/models/{quote(model, safe='')}"
        self.path = f"{self.metadata_path}/infer"
        self._columns: list[_Column] = []
        self._whole = _Tensor("predict", "")
        self._is_whole = False
        """Whether all columns go into the tensor `_whole`."""

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, as far as they are known."""
        return list(self._settings.columns) or [column.name for column in self._columns]

    def learn(self, body: bytes) -> str:
        try:
            found: _Metadata = decode(body, _Metadata)
        except ValueError:
            raise BadAnswer("its metadata has NaN") from None
        inputs = found.inputs or []
        if len(inputs) > TENSORS_MAX:
            raise BadAnswer(f"its metadata has {len(inputs)} inputs")
        self._columns, self._is_whole = [], False
        if len(inputs) == 1 and _width(inputs[0]) != 1:
            self._whole, self._is_whole = inputs[0], True
        else:
            self._columns = [
                _Column(one.name, one.datatype, len(one.shape) < 2)  # noqa: PLR2004
                for one in inputs
            ]
        # Versions that the server has; an answer says which one has given it.
        return found.versions[-1] if found.versions and len(found.versions) == 1 else ""

    def body(self, rows: Sequence[bytes]) -> bytes:
        try:
            values = [orjson.loads(row) for row in rows]
        except orjson.JSONDecodeError as error:
            raise BadRows(f"the data is not JSON: {error}") from None
        kinds = {type(value) for value in values}
        if kinds == {list}:
            inputs: list[dict[str, Any]] = [self._whole_tensor(values)]
            parameters: dict[str, Any] = {}
        elif kinds == {dict}:
            inputs, parameters = self._named(values)
        else:
            raise BadRows("the data is neither an object of columns nor a list of numbers")
        asked: dict[str, Any] = {"inputs": inputs}
        if parameters:
            asked["parameters"] = parameters
        return orjson.dumps(asked)

    def _named(self, values: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        if self._is_whole or (self._settings.columns and not self._columns):
            order = self._settings.columns
            if not order:
                width = _width(self._whole)
                raise BadRows(
                    f"the server takes one tensor {self._whole.name!r} of "
                    f"{max(width, 0) or 'some'} columns: say in which order, remote.columns = [...]"
                )
            return [self._whole_tensor([_ordered(value, order) for value in values])], {}
        columns = self._columns or [_Column(name, "", is_flat=False) for name in values[0]]
        inputs = [_column_tensor(column, values) for column in columns]
        if not inputs:
            raise BadRows("the data has no columns")
        # MLServer reads named columns as a data frame with this parameter; others ignore it.
        return inputs, {} if self._columns else {"content_type": "pd"}

    def _whole_tensor(self, rows: list[list[Any]]) -> dict[str, Any]:
        width = len(rows[0])
        flat = [value for row in rows for value in row]
        wanted = _width(self._whole) if self._is_whole else -1
        if any(len(row) != width for row in rows) or (wanted > 0 and width != wanted):
            raise BadRows(f"a row has {width} columns, not {wanted if wanted > 0 else 'as others'}")
        name, datatype = self._whole.name, self._whole.datatype or _datatype(flat)
        return _tensor(name, datatype, [len(rows), width], flat)

    def read(self, body: bytes, count: int) -> Answers:
        try:
            found: _Answer = decode(body, _Answer)
        except ValueError:
            try:
                found = msgspec.convert(decode_with_nan(body), _Answer)
            except msgspec.ValidationError as error:
                raise BadAnswer(f"its answer cannot be read: {error}") from None
        if not found.outputs:
            raise BadAnswer("its answer has no outputs")
        columns = [_rows_of(output, count) for output in found.outputs]
        if len(columns) == 1:
            values: list[Any] = columns[0]
        else:
            names = [output.name for output in found.outputs]
            values = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return Answers(self.encoded(values), (found.model_version or "")[:200])


def _width(tensor: _Tensor) -> int:
    """Return the number of columns that a tensor takes; -1 when any number will do."""
    if len(tensor.shape) < 2:  # noqa: PLR2004
        return 1
    return -1 if any(size < 1 for size in tensor.shape[1:]) else math.prod(tensor.shape[1:])


def _ordered(value: dict[str, Any], order: Sequence[str]) -> list[Any]:
    try:
        return [value[name] for name in order]
    except KeyError as error:
        raise BadRows(f"the data has no {error.args[0]!r}") from None


def _column_tensor(column: _Column, values: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        data = [value[column.name] for value in values]
    except KeyError:
        raise BadRows(f"the data has no {column.name!r}") from None
    shape = [len(data)] if column.is_flat else [len(data), 1]
    return _tensor(column.name, column.datatype or _datatype(data), shape, data)


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    if any(isinstance(value, (dict, list)) for value in data):
        raise BadRows(f"{name!r} holds objects or lists: a tensor cannot")
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _datatype(data: Sequence[Any]) -> str:
    """Return the datatype of values for which the server names none."""
    kinds = {type(value) for value in data} - {type(None)}
    if kinds == {bool}:
        return "BOOL"
    if str in kinds:
        return "BYTES"
    return "INT64" if kinds == {int} and None not in data else "FP64"


def _rows_of(output: _Tensor, count: int) -> list[Any]:
    """Return what an output tensor says of each row: a value, or a list of values."""
    shape, data = output.shape, _flat(output.data)
    if not shape or any(size < 0 for size in shape):
        raise BadAnswer(f"its output {output.name!r} has the shape {shape}")
    need_count(shape[0], count)
    size = math.prod(shape[1:])
    if len(data) != count * size:
        raise BadAnswer(f"its output {output.name!r} has {len(data)} values in {shape}")
    if size == 1:
        return data
    return [_nested(data[n * size : (n + 1) * size], shape[1:]) for n in range(count)]


def _flat(data: Any) -> list[Any]:
    """Return the values of nested lists."""
    if not isinstance(data, list):
        raise BadAnswer("an output has no data in JSON")
    flat: list[Any] = data
    while flat and all(isinstance(one, list) for one in flat):
        flat = [value for one in flat for value in one]
    return flat


def _nested(values: list[Any], shape: Sequence[int]) -> list[Any]:
    if len(shape) < 2:  # noqa: PLR2004
        return values
    size = len(values) // shape[0] if shape[0] else 0
    return [_nested(values[n * size : (n + 1) * size], shape[1:]) for n in range(shape[0])]
