"""Check that a caller's trace is recorded by all proxies, and sent on to models behind HTTP."""

from __future__ import annotations

import json
import subprocess
import sys

import grpc
import pyarrow.dataset
import pytest
from model_server import ModelServer, predictions
from ports import free_port
from running import Client, Decision, write_decision

from rdv.oip.grpc_messages import MESSAGES, SERVICE
from rdv.trace_context import span_id_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
HEADERS = {"traceparent": PARENT, "tracestate": STATE}
SCHEDULE = """
sla_ms = 20000
default = { score = 0.0, by = "default" }
[[step]]
until_ms = 10000
accept = ["gbm"]
"""


def scores(asked):
    asked.answer(predictions(*({"score": 0.5, "by": "gbm"} for _ in asked.rows)))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Run a decision whose champion is behind HTTP, with a proxy of either kind."""
    directory = tmp_path_factory.mktemp("traces") / "fraud"
    with ModelServer(scores) as server:
        grpc_port = free_port(1)
        port = write_decision(directory, http=f"grpc_port = {grpc_port}")
        (directory / "schedules" / "production.toml").write_text(SCHEDULE)
        toml = directory / "rdv.toml"
        remote = f'http = "{server.url}/score"\nbatch_max = 100'
        toml.write_text(toml.read_text().replace('path = "models/gbm.py"', remote))
        decision = Decision(directory, port)
        try:
            decision.start("server-0", "proxy-0", "gbm")
            decision.processes["grpc"] = decision.start_process("grpc", ["grpc", str(directory)])
            decision.await_ready()
            yield decision, server, grpc_port
        finally:
            decision.close()


@pytest.fixture
def client(served):
    with Client(served[0].port) as client:
        yield client


def record(served, id_):
    lines = (json.loads(value) for _, value in served[0].lines("input"))
    return next(line for line in lines if line["id"] == id_)


def trace_of(line):
    return line.get("traceparent"), line.get("tracestate")


def sent_on(served):
    """Return the trace headers of the last call of the model's server."""
    lines = [line.partition(": ") for line in served[1].asked[-1].head.splitlines()]
    return {name: value for name, _, value in lines if name in HEADERS}


def child(id_, flags="01"):
    return f"00-{TRACE}-{span_id_of(id_, 'gbm')}-{flags}"


def test_a_trace_is_recorded_and_sent_on_as_a_child(served, client):
    status, answer = client.post({"data": {"n": 1}}, HEADERS)
    assert status == 200
    assert trace_of(record(served, answer["id"])) == (PARENT, STATE)
    assert sent_on(served) == {"traceparent": child(answer["id"]), "tracestate": STATE}


def test_without_a_trace_nothing_is_recorded_or_sent(served, client):
    id_ = client.post({"data": {"n": 2}})[1]["id"]
    assert {"traceparent", "tracestate"}.isdisjoint(record(served, id_))
    assert sent_on(served) == {}


@pytest.mark.parametrize(
    ("headers", "recorded"),
    [
        ({"TraceParent": PARENT}, (PARENT, None)),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, (f"00-{TRACE}-{SPAN}-00", None)),
        ({"traceparent": f"01-{TRACE}-{SPAN}-09-x", "tracestate": "a=1"}, (PARENT, "a=1")),
        ({"traceparent": PARENT, "tracestate": "A=1"}, (PARENT, None)),
        ({"traceparent": "nonsense", "tracestate": "a=1"}, (None, None)),
        ({"tracestate": "a=1"}, (None, None)),
    ],
)
def test_what_is_malformed_is_ignored(served, client, headers, recorded):
    status, answer = client.post({"data": {"n": 3}}, headers)
    assert status == 200
    assert trace_of(record(served, answer["id"])) == recorded
    assert ("traceparent" in sent_on(served)) == (recorded[0] is not None)


def test_with_a_key_and_an_id_all_are_recorded(served, client):
    more = {"X-Request-Id": "mine", "Idempotency-Key": "once", **HEADERS}
    answer = client.post({"data": {"n": 4}}, more)[1]
    line = record(served, answer["id"])
    assert trace_of(line) == (PARENT, STATE)
    assert (line["x_request_id"], line["idempotency"]["key"]) == ("mine", "once")
    assert client.post({"data": {"n": 4}}, {**more, "traceparent": PARENT[:-1] + "0"})[1] == answer


def test_each_row_has_the_trace_and_a_batch_is_in_one(served, client):
    answers = client.post({"rows": [{"n": 5}, {"n": 6}]}, HEADERS)[1]["answers"]
    ids = [answer["id"] for answer in answers]
    assert [trace_of(record(served, id_)) for id_ in ids] == [(PARENT, STATE)] * 2
    assert sent_on(served)["traceparent"] in [child(id_) for id_ in ids]


def test_the_open_inference_protocol(served, client):
    tensor = {"name": "n", "datatype": "FP64", "shape": [1, 1], "data": [7]}
    path = "/v2/models/fraud/infer"
    status, answer = client.post({"inputs": [tensor]}, HEADERS, path)
    assert status == 200
    assert trace_of(record(served, answer["parameters"]["rdv_id"])) == (PARENT, STATE)


@pytest.mark.parametrize(
    ("metadata", "recorded"),
    [
        ((("traceparent", PARENT), ("tracestate", STATE)), (PARENT, STATE)),
        ((("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")),
         (PARENT, "a=1,b=2")),
        ((("traceparent", "nonsense"),), (None, None)),
        ((), (None, None)),
    ],
)  # fmt: skip
def test_grpc(served, metadata, recorded):
    with grpc.insecure_channel(f"127.0.0.1:{served[2]}") as channel:
        request = MESSAGES["ModelInferRequest"](model_name="fraud")
        tensor = request.inputs.add(name="n", datatype="FP64", shape=[1, 1])
        tensor.contents.fp64_contents.append(8)
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES["ModelInferResponse"].FromString,
        )
        answer = infer(request, timeout=30, metadata=metadata)
    assert trace_of(record(served, answer.parameters["rdv_id"].string_param)) == recorded


def test_explain_and_export_show_it(served, client, tmp_path):
    id_ = client.post({"data": {"n": 9}}, HEADERS)[1]["id"]
    directory = str(served[0].directory)

    def rdv(*words):
        command = [sys.executable, "-m", "rdv", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert f"{TRACE}, below span {SPAN}" in rdv("explain", directory, id_)
    request = json.loads(rdv("explain", directory, id_, "--json"))["request"]
    assert trace_of(request) == (PARENT, STATE)
    rdv("export", directory, "-o", str(tmp_path / "out"), "--tables", "input")
    table = pyarrow.dataset.dataset(tmp_path / "out" / "input").to_table()
    exported = {row["id"]: row for row in table.to_pylist()}
    assert trace_of(exported[id_]) == (PARENT, STATE)
