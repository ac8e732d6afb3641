"""Reads and writes the REST form: JSON, with or without binary tensors behind it. Pure.

With the binary tensor extension a body is JSON followed by the bytes of the tensors, in their
order; the header `Inference-Header-Content-Length` has the length of the JSON. tritonclient sends
and wants it by default.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import orjson

from rdv.oip.tensor import (
    InferRequest,
    InferResponse,
    OipError,
    Parameters,
    Tensor,
    WantedOutput,
    check_extensions,
    check_values,
    count_of,
    datatype_of,
    flatten,
    from_binary,
    to_binary,
    unusable,
)
from rdv.payload import UnusableJson, check_numbers_and_depth, unreadable

LENGTH_HEADER = b"inference-header-content-length"
TENSORS_MAX = 10_000


class _Input(msgspec.Struct, frozen=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: Any = None


class _Output(msgspec.Struct, frozen=True, gc=False):
    name: str
    parameters: Parameters = {}


class _Body(msgspec.Struct, frozen=True, gc=False):
    inputs: list[_Input]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[_Output] = []


_decode = msgspec.json.Decoder(_Body).decode


def read_request(raw: bytes, length_header: bytes | None) -> InferRequest:
    """Parse the body of an inference request. Raises OipError."""
    text, binary = _split(raw, length_header)
    try:
        check_numbers_and_depth(text)
        body = _decode(text)
    except UnusableJson as error:
        raise unusable("the body", error) from None
    except msgspec.ValidationError as error:
        raise OipError(f"the body does not fit: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unusable("the body", unreadable(text, error)) from None
    if len(body.inputs) > TENSORS_MAX or len(body.outputs) > TENSORS_MAX:
        raise OipError(f"at most {TENSORS_MAX:,} tensors are taken")
    inputs: list[Tensor] = []
    for given in body.inputs:
        tensor, binary = _tensor(given, binary)
        inputs.append(tensor)
    if binary:
        raise OipError(f"{len(binary):,} bytes are left behind the binary data of the inputs")
    check_extensions("the request", body.parameters)
    is_binary = _flag(body.parameters, "binary_data_output", where="the request") or False
    outputs = [_wanted(output) for output in body.outputs]
    return InferRequest(inputs, body.id, body.parameters, outputs, is_binary)


def _split(raw: bytes, length_header: bytes | None) -> tuple[bytes, memoryview]:
    """Return the JSON and the binary data behind it."""
    if length_header is None:
        return raw, memoryview(b"")
    length = int(length_header) if length_header.isdigit() and len(length_header) < 12 else -1  # noqa: PLR2004
    if not 0 <= length <= len(raw):
        shown = length_header[:40].decode("latin-1")
        raise OipError(f"Inference-Header-Content-Length is {shown!r}; the body has {len(raw)}")
    return raw[:length], memoryview(raw)[length:]


def _tensor(given: _Input, binary: memoryview) -> tuple[Tensor, memoryview]:
    """Return an input, and what is left of the binary data."""
    name, shape = given.name, tuple(given.shape)
    check_extensions(f"input {name!r}", given.parameters)
    datatype_of(name, given.datatype)
    count_of(name, shape)
    size = given.parameters.get("binary_data_size")
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(binary):
            message = f"input {name!r}: binary_data_size is {size!r:.40}"
            raise OipError(f"{message}, and {len(binary):,} bytes are left")
        if given.data is not None:
            raise OipError(f"input {name!r} has both data and binary_data_size")
        values = from_binary(name, given.datatype, shape, bytes(binary[:size]))
        binary = binary[size:]
    elif given.data is None:
        raise OipError(f"input {name!r} has neither data nor binary_data_size")
    else:
        values = check_values(name, given.datatype, shape, flatten(name, given.data))
    return Tensor(name, given.datatype, shape, values, given.parameters), binary


def _wanted(output: _Output) -> WantedOutput:
    check_extensions(f"output {output.name!r}", output.parameters)
    is_binary = _flag(output.parameters, "binary_data", where=f"output {output.name!r}")
    return WantedOutput(output.name, is_binary)


def _flag(parameters: Parameters, name: str, *, where: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise OipError(f"{where}: {name} is {value!r:.40}, neither true nor false")
    return value


class Encoded(NamedTuple):
    """Holds the body of a response; `json_length` is None where it has no binary data."""

    body: bytes
    json_length: int | None


def write_response(response: InferResponse, request: InferRequest) -> Encoded:
    """Return the body of a response, with the outputs in binary that are wanted so."""
    wanted = {output.name: output.is_binary for output in request.outputs}
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for tensor in response.outputs:
        line: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        is_binary = wanted.get(tensor.name)
        if request.is_binary if is_binary is None else is_binary:
            parts.append(to_binary(tensor))
            line["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            line["data"] = tensor.values
        outputs.append(line)
    body: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "outputs": outputs,
        "parameters": response.parameters,
    }
    if response.id:
        body["id"] = response.id
    text = orjson.dumps(body)
    return Encoded(b"".join((text, *parts)), len(text) if parts else None)
