"""Check the gRPC process: its answers are decisions as by HTTP; the end of calls; its end."""

from __future__ import annotations

import time

import grpc
import orjson
import pytest
from ports import free_port
from running import MODELS, Client, Decision, write_decision
from waiting import wait_until

from rdv.oip.grpc_messages import HEALTH_SERVICE, MESSAGES, NOT_SERVED, SERVICE
from rdv.serve.grpc.server import check_free


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

        def run(method, request=None, *, metadata=(), service=SERVICE, more=None, **fields):
            request = request or MESSAGES[f"{method}Request"](**fields)
            stub = channel.unary_unary(
                f"/{service}/{method.removeprefix('Health')}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=MESSAGES[f"{method}Response"].FromString,
            )
            answer, ended = stub.with_call(request, timeout=30, metadata=metadata, **(more or {}))
            run.trailing = dict(ended.trailing_metadata())
            return answer

        yield run


def infer(call, values, *, metadata=(), more=None, **fields):
    request = MESSAGES["ModelInferRequest"](model_name="fraud", **fields)
    tensor = request.inputs.add(name="gbm", datatype="BYTES", shape=[len(values), 1])
    tensor.contents.bytes_contents.extend(value.encode() for value in values)
    return call("ModelInfer", request, metadata=metadata, more=more)


def test_health_and_metadata(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="fraud").ready
    assert list(call("ServerMetadata").extensions) == ["binary_tensor_data"]
    model = call("ModelMetadata", name="fraud", version="production")
    assert [(o.name, o.datatype) for o in model.outputs] == [("score", "FP64"), ("by", "BYTES")]
    assert list(model.versions) == ["production"]
    index = call("RepositoryIndex", ready=True)
    assert [(m.name, m.version, m.state) for m in index.models] == [
        ("fraud", "production", "READY")
    ]
    for asked in ("", SERVICE):
        request = MESSAGES["HealthCheckRequest"](service=asked)
        assert call("HealthCheck", request, service=HEALTH_SERVICE).status == 1


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


@pytest.mark.parametrize("method", NOT_SERVED)
def test_methods_that_are_not_served_name_their_extension(served, method):
    with grpc.insecure_channel(f"127.0.0.1:{served[1]}") as channel:
        kind = "stream_stream" if method == "ModelStreamInfer" else "unary_unary"
        stub = getattr(channel, kind)(f"/{SERVICE}/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            list(stub(iter([b""]), timeout=30)) if "Stream" in method else stub(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert f"the {NOT_SERVED[method]} extension" in caught.value.details()


def test_a_repeat_with_the_same_key_gets_the_same_answer(served, call):
    decision, port = served
    topic = f"p-{port}"

    def count():
        return sum(name == topic for name, _ in decision.lines("input"))

    keyed = (("idempotency-key", "k-1"), ("x-request-id", "trace-1"))
    first = infer(call, ["a", "b"], metadata=keyed)
    assert call.trailing["x-request-id"] == "trace-1"
    assert "idempotency-replayed" not in call.trailing
    before = count()
    assert infer(call, ["a", "b"], metadata=keyed) == first
    assert call.trailing["idempotency-replayed"] == "true"
    assert count() == before
    asked = [orjson.loads(value) for name, value in decision.lines("input") if name == topic]
    assert sum(line.get("x_request_id") == "trace-1" for line in asked) == 2
    for values, key, code in (
        (["c"], "k-1", "idempotency_key_reused"),
        (["c"], 'a"b', "invalid_idempotency_key"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            infer(call, values, metadata=(("idempotency-key", key),))
        assert dict(caught.value.trailing_metadata())["rdv-code"] == code
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("how", list(grpc.Compression), ids=lambda how: how.name)
def test_messages_may_be_compressed(call, how):
    assert infer(call, ["a"] * 20, more={"compression": how}).outputs
    with pytest.raises(grpc.RpcError) as caught:
        infer(call, ["x" * 2_000_000], more={"compression": how})
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_changed_limits_apply_without_a_restart(served, call):
    decision, _ = served
    file = decision.directory / "rdv.toml"
    before = file.read_text()
    pid = decision.processes["grpc"].pid

    def is_taken(size):
        try:
            infer(call, ["x" * size])
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:  # one server ends, the next has begun
                time.sleep(0.05)  # the client connects again after a pause
                return is_taken(size)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error  # noqa: PT017
            return False
        return True

    file.write_text(before.replace("[http]", "[http]\nbody_bytes_max = 3000000"))
    wait_until(lambda: is_taken(2_000_000))
    file.write_text(before.replace("[http]", "[http]\nbody_bytes_max = 1000"))
    wait_until(lambda: not is_taken(2_000))
    assert is_taken(10)
    file.write_text(before)
    wait_until(lambda: is_taken(2_000))
    assert not is_taken(2_000_000)
    assert decision.processes["grpc"].pid == pid


def test_a_port_that_is_taken_is_an_error(served):
    with pytest.raises(OSError, match="in use"):
        check_free("127.0.0.1", served[1])


def test_it_ends_when_it_is_asked_to(served, call):
    decision, _ = served
    assert infer(call, ["a"]).outputs
    decision.processes["grpc"].terminate()
    assert decision.processes["grpc"].wait(30) == 0
    decision.processes["grpc"] = decision.start_process("grpc", ["grpc", str(decision.directory)])
    decision.await_ready("grpc")
    assert infer(call, ["a"], id="again").id == "again"
