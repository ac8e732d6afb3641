"""Makes the protobuf messages of the protocol, and converts them.

The messages are described here and built when this module is imported, so that no generated code
has to fit the installed protobuf. They are in a descriptor pool of their own: a process may load
another library's messages of the same names beside them. Needs the extra [grpc].

Source: `grpc_predict_v2.proto` of https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from rdv.oip.tensor import (
    DATATYPES,
    InferRequest,
    InferResponse,
    OipError,
    Parameters,
    Tensor,
    WantedOutput,
    check_extensions,
    check_values,
    from_binary,
    text_of,
    to_binary,
)

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
"""The service of gRPC's own health checks, as Kubernetes asks."""

_P = "map InferParameter"
_MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live 1 bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready 1 bool",
    "ModelReadyRequest": "name 1 string, version 2 string",
    "ModelReadyResponse": "ready 1 bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name 1 string, version 2 string, extensions 3 list string",
    "ModelMetadataRequest": "name 1 string, version 2 string",
    "ModelMetadataResponse.TensorMetadata": "name 1 string, datatype 2 string, shape 3 list int64",
    "ModelMetadataResponse": "name 1 string, versions 2 list string, platform 3 string, "
    "inputs 4 list ModelMetadataResponse.TensorMetadata, "
    "outputs 5 list ModelMetadataResponse.TensorMetadata",
    "RepositoryIndexRequest": "repository_name 1 string, ready 2 bool",
    "RepositoryIndexResponse.ModelIndex": "name 1 string, version 2 string, state 3 string, "
    "reason 4 string",
    "RepositoryIndexResponse": "models 1 list RepositoryIndexResponse.ModelIndex",
    "HealthCheckRequest": "service 1 string",
    "HealthCheckResponse": "status 1 int32",
    "InferParameter": "bool_param 1 one bool, int64_param 2 one int64, string_param 3 one string, "
    "double_param 4 one double, uint64_param 5 one uint64",
    "InferTensorContents": "bool_contents 1 list bool, int_contents 2 list int32, "
    "int64_contents 3 list int64, uint_contents 4 list uint32, uint64_contents 5 list uint64, "
    "fp32_contents 6 list float, fp64_contents 7 list double, bytes_contents 8 list bytes",
    "ModelInferRequest.InferInputTensor": "name 1 string, datatype 2 string, shape 3 list int64, "
    f"parameters 4 {_P}, contents 5 InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": f"name 1 string, parameters 2 {_P}",
    "ModelInferRequest": "model_name 1 string, model_version 2 string, id 3 string, "
    f"parameters 4 {_P}, inputs 5 list ModelInferRequest.InferInputTensor, "
    "outputs 6 list ModelInferRequest.InferRequestedOutputTensor, raw_input_contents 7 list bytes",
    "ModelInferResponse.InferOutputTensor": "name 1 string, datatype 2 string, "
    f"shape 3 list int64, parameters 4 {_P}, contents 5 InferTensorContents",
    "ModelInferResponse": "model_name 1 string, model_version 2 string, id 3 string, "
    f"parameters 4 {_P}, outputs 5 list ModelInferResponse.InferOutputTensor, "
    "raw_output_contents 6 list bytes",
}
"""The fields of each message: name, number and type; `list`, `map` or `one` (of a oneof) before it.

A nested message has the name of its outer one before its own.
"""

METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "RepositoryIndex",
)
"""The methods that are served beside ModelInfer; RepositoryIndex is Triton's."""

NOT_SERVED = {
    "ModelStreamInfer": "streaming",
    "ModelConfig": "model configuration",
    "ModelStatistics": "statistics",
    "RepositoryModelLoad": "model control",
    "RepositoryModelUnload": "model control",
    "SystemSharedMemoryStatus": "shared memory",
    "SystemSharedMemoryRegister": "shared memory",
    "SystemSharedMemoryUnregister": "shared memory",
    "CudaSharedMemoryStatus": "shared memory",
    "CudaSharedMemoryRegister": "shared memory",
    "CudaSharedMemoryUnregister": "shared memory",
    "TraceSetting": "trace",
    "LogSettings": "logging",
}
"""The other methods of Triton's service, and the extensions that they belong to."""

_Field = descriptor_pb2.FieldDescriptorProto
_NAMES = ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
_SCALARS = {name: getattr(_Field, f"TYPE_{name.upper()}") for name in _NAMES}


def _build() -> dict[str, Any]:
    """Return the class of each message by its name without the package."""
    file = descriptor_pb2.FileDescriptorProto(
        name="rdv/open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name in sorted(_MESSAGES, key=lambda name: name.count(".")):
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        made[name] = message
    for name, message in made.items():
        for text in filter(None, _MESSAGES[name].split(", ")):
            _add_field(message, name, text.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def _add_field(message: Any, path: str, words: list[str]) -> None:
    name, number, *how, kind = words
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if how in (["list"], ["map"]):
        field.label = _Field.LABEL_REPEATED
    if how == ["one"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if how == ["map"]:
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, "", ["key", "1", "string"])
        _add_field(entry, "", ["value", "2", kind])
        kind = f"{path}.ParametersEntry"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


MESSAGES = _build()

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_infer(message: Any) -> InferRequest:
    """Return the inference request of a `ModelInferRequest`. Raises OipError."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise OipError(f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs")
    parameters = _parameters(message.parameters)
    check_extensions("the request", parameters)
    inputs: list[Tensor] = []
    for number, given in enumerate(message.inputs):
        shape, own = tuple(given.shape), _parameters(given.parameters)
        check_extensions(f"input {given.name!r}", own)
        if raw:
            values = from_binary(given.name, given.datatype, shape, raw[number])
        else:
            values = check_values(given.name, given.datatype, shape, _contents(given))
        inputs.append(Tensor(given.name, given.datatype, shape, values, own))
    outputs = [_wanted(output) for output in message.outputs]
    # tritonclient reads raw contents only; a client that sends typed contents gets typed ones.
    is_binary = bool(raw) or not message.inputs
    return InferRequest(inputs, message.id, parameters, outputs, is_binary)


def _wanted(output: Any) -> WantedOutput:
    check_extensions(f"output {output.name!r}", _parameters(output.parameters))
    return WantedOutput(output.name)


def _contents(given: Any) -> list[Any]:
    field = _CONTENTS.get(given.datatype)
    if field is None:
        known = ", ".join(DATATYPES)
        message = f"input {given.name!r}: {given.datatype[:40]!r} has no typed contents"
        raise OipError(f"{message}; send raw_input_contents, of {known}")
    values = list(getattr(given.contents, field))
    return [text_of(given.name, v) for v in values] if field == "bytes_contents" else values


def _parameters(given: Any) -> Parameters:
    found: Parameters = {}
    for name, value in given.items():
        which = value.WhichOneof("parameter_choice")
        if which is not None:
            found[name] = getattr(value, which)
    return found


def write_infer(response: InferResponse, *, is_binary: bool) -> Any:
    """Return the `ModelInferResponse` of an answer."""
    message = MESSAGES["ModelInferResponse"](
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    for name, value in response.parameters.items():
        _set_parameter(message.parameters[name], value)
    for tensor in response.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype)
        output.shape.extend(tensor.shape)
        if is_binary:
            message.raw_output_contents.append(to_binary(tensor))
        else:
            values = tensor.values
            if tensor.datatype == "BYTES":
                values = [value.encode() for value in values]
            elif tensor.datatype == "FP64":
                values = [float("nan") if value is None else value for value in values]
            getattr(output.contents, _CONTENTS[tensor.datatype]).extend(values)
    return message


def _set_parameter(parameter: Any, value: Any) -> None:
    kind = {bool: "bool", int: "int64", float: "double"}.get(type(value), "string")
    setattr(parameter, f"{kind}_param", value)
