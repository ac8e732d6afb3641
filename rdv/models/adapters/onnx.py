"""Load .onnx files with onnxruntime, on the CPU.

A row of a model with several inputs is an object with a field for each, or a list in their order. A
row of a model with one input of the shape [rows, columns] is a list, an object with the input's
name, or an object with the names of the option `columns`. null is NaN in an input of fractions; in
others it is an error.
"""

from __future__ import annotations

import importlib.machinery
import os
import re
import types
from collections.abc import Iterator
from typing import Any

ENDINGS = (".onnx", ".ort")
EXTRA = "onnx"
LIBRARIES = ("onnxruntime",)

common: Any = types.ModuleType("rdv_adapters_common")
_COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "common.py")
importlib.machinery.SourceFileLoader(common.__name__, _COMMON).exec_module(common)

OPTIONS: dict[str, str] = {
    **common.OPTIONS,
    "batch": "false: the model has no dimension for the rows, and takes one at a time",
}
_FLOATS = {"float16": "float16", "float": "float32", "double": "float64"}
_INTEGERS = {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_DTYPES = {**_FLOATS, **_INTEGERS, "bool": "bool", "string": "object"}
_PLAIN = {
    **dict.fromkeys(_FLOATS, frozenset((int, float, bool, type(None)))),
    **dict.fromkeys(_INTEGERS, frozenset((int, bool))),
    "bool": frozenset((bool,)),
    "string": frozenset((str,)),
}
_COLUMN_TYPES = {
    **dict.fromkeys(_FLOATS, "number"),
    **dict.fromkeys(_INTEGERS, "integer"),
    "bool": "boolean",
    "string": "string",
}
_EXTERNAL = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)
_GRAPH, _NODE, _ATTRIBUTE = 7, 1, 5
_CLASS_BYTES_MAX = 512 * 1024 * 1024
_TWO = 2


def recognises(path: str) -> bool:
    """Return whether the file begins as an ONNX or an ORT file does."""
    with open(path, "rb") as file:
        head = file.read(8)
    return head[:1] == b"\x08" or head[4:] == b"ORTM"


def load(path: str, options: dict[str, Any]) -> Model:
    """Load the file. Raises onnxruntime's errors, ImportError, ValueError."""
    return Model(path, options)


class Input:
    """One input of the model: makes an array of its rows' values."""

    def __init__(self, found: Any, *, has_rows: bool) -> None:
        """Take what the session says about it. Raises ValueError for one that is not a tensor."""
        self.name = str(found.name)
        self.kind = found.type.removeprefix("tensor(").removesuffix(")")
        if self.kind not in _DTYPES:
            raise ValueError(f"the input {self.name!r} is a {found.type}, which is not supported")
        shape = list(found.shape)
        self.rows = shape[0] if has_rows and shape and isinstance(shape[0], int) else 0
        """The fixed number of rows; 0 when it may be any."""
        self.shape = [one if isinstance(one, int) else -1 for one in shape[1 if has_rows else 0 :]]
        self.is_scalar = self.shape in ([], [1])

    def array(self, values: list[Any]) -> Any:
        """Return one value for each row as an array. Raises ValueError, TypeError."""
        import numpy as np

        if self.is_scalar:
            cells = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in values]
            self._check(cells)
            return np.array(cells, _DTYPES[self.kind]).reshape(len(values), *self.shape)
        for value in values:
            self._check(list(_flat(value, len(self.shape))))
        shape = (len(values), *self.shape)
        try:
            found = np.array(values, _DTYPES[self.kind])
        except ValueError:
            raise ValueError(f"{self.name!r}: its lists differ in their lengths") from None
        fits = found.ndim == len(shape) and all(
            want in (-1, have) for want, have in zip(shape, found.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{self.name!r} has the shape {found.shape[1:]}, not {self.shape}")
        return found

    def _check(self, cells: list[Any]) -> None:
        plain = _PLAIN[self.kind]
        if plain.issuperset(map(type, cells)):
            return
        for value in cells:
            if type(value) not in plain and not hasattr(value, "dtype"):
                raise ValueError(
                    f"{self.name!r}: {repr(value)[:60]} is not of the type {self.kind}"
                )

    def column(self) -> dict[str, Any]:
        """Return the description of the input as a column."""
        kind = _COLUMN_TYPES[self.kind] if self.is_scalar else "list"
        is_float = self.is_scalar and self.kind in _FLOATS
        return {"name": self.name, "type": kind, "required": True, "nullable": is_float}


def _flat(value: Any, depth: int) -> Iterator[Any]:
    """Yield the values of nested lists."""
    if depth and isinstance(value, (list, tuple)):
        for one in value:
            yield from _flat(one, depth - 1)
    elif hasattr(value, "tolist") and hasattr(value, "shape") and value.shape:
        yield from _flat(value.tolist(), depth)
    else:
        yield value


class Model:
    """Results by the outputs.

    - a label and probabilities: {"score", "label"} for two classes, else {"label", "probabilities"}
    - a label alone: {"label"}
    - numbers: {"value"}; with the option `labels` they are the probabilities of these
    - anything else: an object with the outputs' names
    """

    version = ""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        """Load the file."""
        import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = int(options.get("threads", 1))
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            path, settings, providers=["CPUExecutionProvider"]
        )
        has_rows = options.get("batch", True) is not False
        self._inputs = [Input(one, has_rows=has_rows) for one in self._session.get_inputs()]
        self._rows_max = max(one.rows for one in self._inputs) if has_rows else 1
        self._has_rows = has_rows
        self._outputs = self._session.get_outputs()
        self._names = [one.name for one in self._outputs]
        data = _read(path)
        self.files = [os.path.join(os.path.dirname(path), name) for name in _external(data)]
        self._labels = options.get("labels") or _classes(data)
        self._table = self._table_of(options)
        self.columns = self._columns()
        self.numbers = None if self._table is None else self._table.numbers

    def _table_of(self, options: dict[str, Any]) -> Any:
        """Return what makes the array of a single input of numbers [rows, columns], else None."""
        (first, *others) = self._inputs
        count = first.shape[0] if len(first.shape) == 1 else -1
        names = options.get("columns")
        if others or first.kind not in _FLOATS or (count < 0 and not names) or first.is_scalar:
            if names and not (first.is_scalar and not others):
                raise ValueError("the option columns is for one input [rows, columns] of fractions")
            return None
        return common.Table(None, count if count > 0 else len(names or ()), options)

    def _columns(self) -> list[dict[str, Any]] | None:
        if self._table is not None:
            found: list[dict[str, Any]] | None = self._table.columns()
            return found
        if len(self._inputs) == 1 and not self._inputs[0].is_scalar:
            return None
        return [one.column() for one in self._inputs]

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        return self._predicted(self._arrays(rows), len(rows))

    def predict_numbers(self, x: Any) -> list[Any]:
        """Return one result for each row of an array; for a single input of numbers."""
        return self._predicted(self._single(x), len(x))

    def _predicted(self, arrays: dict[str, Any], rows: int) -> list[Any]:
        count = self._rows_max
        if not self._has_rows:
            return [self._one({name: x[n] for name, x in arrays.items()}) for n in range(rows)]
        if not count:
            return self._run(arrays)
        found: list[Any] = []
        for start in range(0, rows, count):
            part = {name: x[start : start + count] for name, x in arrays.items()}
            found += self._run({name: _padded(x, count) for name, x in part.items()})
        return found[:rows]

    def _single(self, x: Any) -> dict[str, Any]:
        (only,) = self._inputs
        return {only.name: x.astype(_DTYPES[only.kind])}

    def _arrays(self, rows: list[Any]) -> dict[str, Any]:
        """Return an array for each input."""
        first, inputs = rows[0], self._inputs
        if self._table is not None and not (isinstance(first, dict) and self._table.names is None):
            return self._single(self._table.array(rows))
        if isinstance(first, dict):
            return {one.name: one.array([row[one.name] for row in rows]) for one in inputs}
        if len(inputs) == 1:
            return {inputs[0].name: inputs[0].array(rows)}
        if not isinstance(first, (list, tuple)):
            raise TypeError(f"a row is an object or a list, not a {type(first).__name__}")
        for row in rows:
            if len(row) != len(inputs):
                raise ValueError(
                    f"a row has {len(row)} values, but the model has {len(inputs)} inputs"
                )
        return {one.name: one.array([row[n] for row in rows]) for n, one in enumerate(inputs)}

    def _one(self, arrays: dict[str, Any]) -> Any:
        """Return the result of a model without a dimension for rows."""
        import numpy as np

        found = self._session.run(None, arrays)
        return self._results([np.asarray(one)[None] for one in found], 1)[0]

    def _run(self, arrays: dict[str, Any]) -> list[Any]:
        count = len(next(iter(arrays.values())))
        return self._results(self._session.run(None, arrays), count)

    def _results(self, found: list[Any], count: int) -> list[Any]:
        """Return a result for each row, from the values of all outputs."""
        if len(found) == _TWO and _is_labels(found[0]):
            if isinstance(found[1], list):
                return [_zipped(*one) for one in zip(found[0].tolist(), found[1], strict=True)]
            if found[1].ndim == _TWO and found[1].dtype.kind == "f":
                return self._labelled(found[0].tolist(), found[1])
        if len(found) == 1 and not isinstance(found[0], list):
            (only,) = found
            only = only.reshape(count) if only.shape[1:] == (1,) else only
            if _is_labels(only):
                return [{"label": item} for item in only.tolist()]
            if only.dtype.kind == "f" and self._labels:
                return self._shares(only)
            return list(common.values(only))
        columns = [one if isinstance(one, list) else one.tolist() for one in found]
        return [
            dict(zip(self._names, values, strict=True)) for values in zip(*columns, strict=True)
        ]

    def _labelled(self, labels: list[Any], shares: Any) -> list[Any]:
        """Return the results for a label and the probabilities of all classes."""
        width = shares.shape[1]
        if width <= _TWO:
            scores = shares[:, width - 1].tolist()
            return [{"score": s, "label": x} for s, x in zip(scores, labels, strict=True)]
        keys = list(map(str, common.labels_of({"labels": self._labels or None}, width)))
        return [
            {"label": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(labels, shares.tolist(), strict=True)
        ]

    def _shares(self, shares: Any) -> list[Any]:
        """Return the results for probabilities without a label."""
        is_one = shares.ndim == 1
        labels = common.labels_of({"labels": self._labels}, 2 if is_one else shares.shape[1])
        return list(common.binary(shares, labels) if is_one else common.classes(shares, labels))


def _padded(x: Any, count: int) -> Any:
    """Repeat the last row until there are as many rows as the model takes."""
    import numpy as np

    missing = count - len(x)
    return np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x


def _is_labels(found: Any) -> bool:
    return not isinstance(found, list) and found.ndim == 1 and found.dtype.kind in "iuOUb"


def _zipped(label: Any, shares: dict[Any, float]) -> dict[str, Any]:
    if len(shares) == _TWO:
        return {"score": list(shares.values())[1], "label": label}
    return {"label": label, "probabilities": {str(key): p for key, p in shares.items()}}


def _read(path: str) -> bytes:
    """Return the file; nothing of one that is too large to be searched."""
    if os.path.getsize(path) > _CLASS_BYTES_MAX:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _external(data: bytes) -> list[str]:
    """Return the names of files beside the model that hold its weights."""
    found = set()
    for match in _EXTERNAL.finditer(data):
        name = data[match.end() : match.end() + match[1][0]]
        found.add(name.decode("utf-8", "replace"))
    return sorted(found)


def _classes(data: bytes) -> list[Any]:
    """Return the classes' names that a node of the graph has as an attribute; else nothing."""
    try:
        for number, graph in _fields(memoryview(data)):
            if number == _GRAPH and not isinstance(graph, int):
                for kind, node in _fields(graph):
                    if kind == _NODE and not isinstance(node, int) and (found := _labels(node)):
                        return found
    except (IndexError, ValueError):
        pass
    return []


def _labels(node: memoryview) -> list[Any]:
    for number, attribute in _fields(node):
        if number != _ATTRIBUTE or isinstance(attribute, int):
            continue
        parts = list(_fields(attribute))
        name = next((bytes(v) for n, v in parts if n == 1 and not isinstance(v, int)), b"")
        if name.startswith(b"classlabels_"):
            return [item for number, value in parts for item in _attribute_values(number, value)]
    return []


def _attribute_values(number: int, value: memoryview | int) -> list[Any]:
    """Return the integers or strings of an attribute's field."""
    ints, strings = 8, 9
    if number == strings and not isinstance(value, int):
        return [bytes(value).decode()]
    if number != ints:
        return []
    return [value] if isinstance(value, int) else [n for n, _ in _varints(value)]


def _varints(data: memoryview) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value, at


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the fields of a protobuf message: their numbers, and an integer or bytes."""
    at, fixed = 0, {1: 8, 5: 4}
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _TWO:
            size, at = _varint(data, at)
        elif wire in fixed:
            size = fixed[wire]
        else:
            raise ValueError("not a protobuf message")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
            return (value - (1 << 64) if value >> 63 else value), at
        shift += 7
