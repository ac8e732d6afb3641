"""Check the gRPC process: its answers are decisions as by HTTP; the end of calls; its end."""

from __future__ import annotations

import grpc
import orjson
import pytest
from ports import free_port
from running import MODELS, Client, Decision, write_decision

from rdv.oip.grpc_messages import MESSAGES, SERVICE


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Run a decision with a proxy for HTTP and one for gRPC; return it and the gRPC port."""
    directory = tmp_path_factory.mktemp("grpc") / "fraud"
    port = free_port(1)
    decision = Decision(directory, write_decision(directory, http=f"grpc_port = {port}"))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.processes["grpc"] = decision.start_process("grpc", ["grpc", str(directory)])
        decision.await_ready()
        yield decision, port
    finally:
        decision.close()


@pytest.fixture
def call(served):
    with grpc.insecure_channel(f"127.0.0.1:{served[1]}") as channel:

        def run(method, request=None, **fields):
            request = request or MESSAGES[f"{method}Request"](**fields)
            stub = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=MESSAGES[f"{method}Response"].FromString,
            )
            return stub(request, timeout=30)

        yield run


def infer(call, values, **fields):
    request = MESSAGES["ModelInferRequest"](model_name="fraud", **fields)
    tensor = request.inputs.add(name="gbm", datatype="BYTES", shape=[len(values), 1])
    tensor.contents.bytes_contents.extend(value.encode() for value in values)
    return call("ModelInfer", request)


def test_health_and_metadata(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="fraud").ready
    assert list(call("ServerMetadata").extensions) == ["binary_tensor_data"]
    model = call("ModelMetadata", name="fraud", version="production")
    assert [(o.name, o.datatype) for o in model.outputs] == [("score", "FP64"), ("by", "BYTES")]
    assert list(model.versions) == ["production"]


def test_decisions_are_recorded_as_those_by_http(served, call):
    decision, port = served
    answer = infer(call, ["a", "raise"], id="q")
    assert (answer.id, answer.model_version) == ("q", "production")
    assert [(o.name, list(o.shape)) for o in answer.outputs] == [("score", [2, 1]), ("by", [2, 1])]
    ids = orjson.loads(answer.parameters["rdv_id"].string_param)
    stories = decision.stories()
    by = [value.decode() for value in answer.outputs[1].contents.bytes_contents]
    assert [stories[id_]["result"]["by"] for id_ in ids] == by
    topics = {topic for topic, _ in decision.lines("input")}
    assert f"p-{port}" in topics
    with Client(decision.port) as client:
        assert client.post({"data": {}})[0] == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model_name": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"model_name": "fraud", "model_version": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"model_name": "fraud"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"model_name": "fraud", "raw_input_contents": [b""]}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_refused(call, fields, code):
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", MESSAGES["ModelInferRequest"](**fields))
    assert caught.value.code() == code
    assert dict(caught.value.trailing_metadata())["rdv-code"]


def test_bytes_that_are_no_message_are_refused(served):
    with grpc.insecure_channel(f"127.0.0.1:{served[1]}") as channel:
        for method in ("ModelInfer", "ModelReady", "ServerLive"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{SERVICE}/{method}")(b"\xff\xff\xff", timeout=30)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, method


def test_a_message_that_is_too_large_is_refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        infer(call, ["x" * 2_000_000])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_it_ends_when_it_is_asked_to(served, call):
    decision, _ = served
    assert infer(call, ["a"]).outputs
    decision.processes["grpc"].terminate()
    assert decision.processes["grpc"].wait(30) == 0
    decision.processes["grpc"] = decision.start_process("grpc", ["grpc", str(decision.directory)])
    decision.await_ready("grpc")
    assert infer(call, ["a"], id="again").id == "again"
