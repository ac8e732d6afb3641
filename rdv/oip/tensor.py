"""Represents tensors and requests, and converts the values of tensors. Pure."""

from __future__ import annotations

import itertools
import math
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rdv.payload import UnusableJson

Parameter = str | int | float | bool
Parameters = dict[str, Parameter]

NUMBERS_MAX = 50_000_000
"""The largest number of values in a tensor that is even looked at."""

DIMENSIONS_MAX = 16


class OipError(Exception):
    """A request that cannot be served; `status` is that of HTTP, `code` one of `rdv.codes`."""

    def __init__(self, message: str, status: int = 400, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.message, self.status, self.code = message, status, code


def unusable(what: str, error: UnusableJson) -> OipError:
    """Return the refusal of a text that is not JSON, or not JSON that rdv takes."""
    return OipError(error.said_of(what), 400 if error.kind == "malformed_json" else 422, error.kind)


class Datatype(NamedTuple):
    """Describes a datatype: its kind of values, and its form in binary data."""

    kind: str
    """bool, int, float or bytes."""
    code: str
    """The code of `array`, or of `struct` for FP16; empty for BF16 and BYTES."""
    size: int
    low: int = 0
    high: int = 0
    """The bounds of whole numbers; of a float the largest finite value, 0 for that of a double."""


def _int(code: str, size: int, *, signed: bool) -> Datatype:
    bits = 8 * size
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Datatype("int", code, size, low, high)


DATATYPES: dict[str, Datatype] = {
    "BOOL": Datatype("bool", "B", 1),
    "UINT8": _int("B", 1, signed=False),
    "UINT16": _int("H", 2, signed=False),
    "UINT32": _int("I", 4, signed=False),
    "UINT64": _int("Q", 8, signed=False),
    "INT8": _int("b", 1, signed=True),
    "INT16": _int("h", 2, signed=True),
    "INT32": _int("i", 4, signed=True),
    "INT64": _int("q", 8, signed=True),
    "FP16": Datatype("float", "e", 2, high=65_504),
    "BF16": Datatype("float", "", 2, high=0xFF << 120),
    "FP32": Datatype("float", "f", 4, high=0xFFFFFF << 104),
    "FP64": Datatype("float", "d", 8),
    "BYTES": Datatype("bytes", "", 0),
}


@dataclass(frozen=True)
class Tensor:
    """Holds a tensor: `values` are flat, in row-major order; a missing number is None."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class WantedOutput:
    """Holds an output that a request asks for; `is_binary` is None where it does not say."""

    name: str
    is_binary: bool | None = None


@dataclass(frozen=True)
class InferRequest:
    """Holds an inference request in either form; `outputs` is empty where all are wanted."""

    inputs: list[Tensor]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
    outputs: list[WantedOutput] = field(default_factory=list)
    is_binary: bool = False
    """Outputs that do not say otherwise are wanted as binary data."""


@dataclass(frozen=True)
class InferResponse:
    """Holds the answer to an inference request."""

    model_name: str
    model_version: str
    id: str
    outputs: list[Tensor]
    parameters: Parameters = field(default_factory=dict)


def check_extensions(where: str, parameters: Parameters) -> None:
    """Refuse the parameters of extensions that are not served. Raises OipError.

    To ignore one of them would be a wrong answer: the data, or its order, would be another.
    """
    for name, extension in _EXTENSIONS.items():
        if parameters.get(name):
            raise not_served(extension, f"{where} has the parameter {name}")


def not_served(extension: str, what: str) -> OipError:
    """Return the refusal of an extension of the protocol."""
    message = f"the {extension} extension of the protocol is not served here: {what}"
    return OipError(message, 501, "extension_not_served")


_EXTENSIONS = {
    "shared_memory_region": "shared memory",
    "sequence_id": "sequence",
    "sequence_start": "sequence",
    "sequence_end": "sequence",
    "classification": "classification",
}
"""The extension that each of these parameters belongs to."""


def datatype_of(name: str, datatype: str) -> Datatype:
    """Return the datatype of a tensor. Raises OipError."""
    found = DATATYPES.get(datatype)
    if found is None:
        known = ", ".join(DATATYPES)
        raise OipError(f"input {name!r} has the datatype {datatype[:40]!r}; known are {known}")
    return found


def count_of(name: str, shape: Sequence[int]) -> int:
    """Return the number of values of a shape. Raises OipError."""
    if len(shape) > DIMENSIONS_MAX or any(size < 0 for size in shape):
        raise OipError(f"input {name!r} has the shape {list(shape)[:20]}, which cannot be")
    count = math.prod(shape)
    if count > NUMBERS_MAX:
        raise OipError(f"input {name!r} has {count:,} values; at most {NUMBERS_MAX:,} are taken")
    return count


def check_values(name: str, datatype: str, shape: Sequence[int], values: list[Any]) -> list[Any]:
    """Return the values of a JSON tensor in Python's types. Raises OipError.

    NaN and null are missing numbers: JSON has no NaN, and models get null.
    """
    kind = datatype_of(name, datatype)
    if len(values) != (count := count_of(name, shape)):
        message = f"input {name!r} has {len(values):,} values, but its shape {list(shape)}"
        raise OipError(f"{message} has {count:,}")
    check = _CHECKS[kind.kind]
    for number, value in enumerate(values):
        if value is not None and not check(value, kind):
            shown = repr(value)[:60]
            raise OipError(f"input {name!r}: value {number} ({shown}) is no {datatype}")
    if kind.kind == "float":
        return [None if v is None or not math.isfinite(v) else float(v) for v in values]
    return values


def _is_int(value: Any, kind: Datatype) -> bool:
    return type(value) is int and kind.low <= value <= kind.high


def _is_float(value: Any, kind: Datatype) -> bool:
    if type(value) not in (int, float):
        return False
    return not kind.high or abs(value) <= kind.high or not math.isfinite(value)


def _is_bool(value: Any, _: Datatype) -> bool:
    return type(value) is bool


def _is_text(value: Any, _: Datatype) -> bool:
    return type(value) is str


_CHECKS = {"int": _is_int, "float": _is_float, "bool": _is_bool, "bytes": _is_text}


def flatten(name: str, data: object) -> list[Any]:
    """Return nested JSON lists as one flat list, in row-major order. Raises OipError."""
    if not isinstance(data, list):
        raise OipError(f"input {name!r}: data is no list")
    values: list[Any] = data
    for _ in range(DIMENSIONS_MAX):
        if not any(type(value) is list for value in values):
            return values
        if not all(type(value) is list for value in values):
            raise OipError(f"input {name!r}: data mixes lists and values")
        values = list(itertools.chain.from_iterable(values))
    raise OipError(f"input {name!r}: data is nested more than {DIMENSIONS_MAX} deep")


def from_binary(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> list[Any]:
    """Return the values of binary data (little endian). Raises OipError."""
    kind, count = datatype_of(name, datatype), count_of(name, shape)
    if kind.kind == "bytes":
        return _texts(name, count, raw)
    if len(raw) != count * kind.size:
        message = f"input {name!r} has {len(raw):,} bytes; {count:,} values of {datatype} have"
        raise OipError(f"{message} {count * kind.size:,}")
    values: list[Any]
    if kind.code == "e":
        values = list(struct.unpack(f"<{count}e", raw))
    elif datatype == "BF16":
        values = _of_bfloat16(raw)
    else:
        numbers = array(kind.code)
        numbers.frombytes(raw)
        if sys.byteorder == "big":
            numbers.byteswap()
        values = numbers.tolist()
    if kind.kind == "float":
        return [value if math.isfinite(value) else None for value in values]
    return [value != 0 for value in values] if kind.kind == "bool" else values


def _of_bfloat16(raw: bytes) -> list[float]:
    """Return the values of bfloat16s: each is the upper half of the bits of a float."""
    wide = bytearray(2 * len(raw))
    wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
    values = array("f")
    values.frombytes(wide)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def _texts(name: str, count: int, raw: bytes) -> list[str]:
    """Return the elements of a BYTES tensor: each has its length before it, in 4 bytes."""
    texts: list[str] = []
    at = 0
    while at < len(raw) and len(texts) < count:
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if at + size > len(raw):
            break
        texts.append(text_of(name, raw[at : at + size]))
        at += size
    if len(texts) != count or at != len(raw):
        raise OipError(f"input {name!r}: its {len(raw):,} bytes are not {count:,} texts")
    return texts


def text_of(name: str, raw: bytes) -> str:
    """Return an element of a BYTES tensor. Raises OipError."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise OipError(f"input {name!r} is not UTF-8") from None


def to_binary(tensor: Tensor) -> bytes:
    """Return the values of an output as binary data (little endian); a missing number is NaN."""
    kind = DATATYPES[tensor.datatype]
    if kind.kind == "bytes":
        texts = [value.encode() for value in tensor.values]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    numbers = array(kind.code, (math.nan if v is None else v for v in tensor.values))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
