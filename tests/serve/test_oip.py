"""Check the Open Inference Protocol over REST, at a decision with real processes."""

from __future__ import annotations

import orjson
import pytest
from running import Client


@pytest.fixture
def client(decision):
    with Client(decision.port) as client:
        yield client


def infer(client, *inputs, version="", headers=None, **more):
    path = f"/v2/models/fraud{version}/infer"
    return client.post({"inputs": inputs, **more}, headers, path)


def column(name, datatype, values):
    return {"name": name, "datatype": datatype, "shape": [len(values), 1], "data": values}


def output(answer, name):
    return next(o["data"] for o in answer["outputs"] if o["name"] == name)


def test_health_and_metadata(client):
    assert client.get("/v2/health/live") == (200, {"live": True})
    assert client.get("/v2/health/ready") == (200, {"ready": True})
    assert client.get("/v2")[1]["extensions"] == ["binary_tensor_data"]
    status, model = client.get("/v2/models/fraud")
    assert (status, model["name"], model["versions"]) == (200, "fraud", ["production"])
    assert [i["name"] for i in model["inputs"]] == ["data"]
    assert {o["name"]: o["datatype"] for o in model["outputs"]} == {"score": "FP64", "by": "BYTES"}
    assert client.get("/v2/models/fraud/versions/production")[1] == model
    assert client.get("/v2/models/fraud/ready") == (200, {"name": "fraud", "ready": True})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/fraud/versions/other", 404),
        ("GET", "/v2/models/fraud/versions", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/fraud/infer", 405),
        ("POST", "/v2/models/fraud", 405),
    ],
)
def test_unknown_paths_are_refused_in_the_form_of_the_protocol(client, method, path, status):
    found, answer = client.get(path) if method == "GET" else client.post({}, path=path)
    assert found == status
    assert isinstance(answer["error"], str)


def test_each_row_is_a_decision_of_its_own(client, decision):
    names = ["a", "raise", "b"]
    status, answer = infer(client, column("gbm", "BYTES", names), id="q1")
    assert (status, answer["id"], answer["model_version"]) == (200, "q1", "production")
    assert output(answer, "by")[1] != "gbm"
    kinds = orjson.loads(answer["parameters"]["rdv_kind"])
    assert (len(kinds), kinds[1] != "preferred") == (3, True)
    ids = orjson.loads(answer["parameters"]["rdv_id"])
    asked = [orjson.loads(value) for _, value in decision.lines("input")]
    data = {line["id"]: line["data"] for line in asked}
    assert [data[id_] for id_ in ids] == [{"gbm": name} for name in names]
    reports = decision.reports("gbm")
    assert [bool(reports[id_].get("error")) for id_ in ids] == [False, True, False]


def test_keys_versions_outputs_and_parameters(client, decision):
    row = {"name": "data", "datatype": "BYTES", "shape": [1], "data": ['{"n": 1}']}
    wanted = [{"name": "rdv_model"}, {"name": "result"}]
    status, answer = infer(
        client, row, version="/versions/production", outputs=wanted,
        parameters={"rdv_key": "u-1", "rdv_models": "fast, mlp", "rdv_deadline_ms": 55.5},
        headers={"X-Request-Id": "trace-7"},
    )  # fmt: skip
    assert status == 200
    assert client.headers["X-Request-Id"] == "trace-7"
    assert output(answer, "rdv_model") == ["mlp"]
    assert orjson.loads(output(answer, "result")[0])["by"] == "mlp"
    asked = [orjson.loads(value) for _, value in decision.lines("input")]
    line = next(one for one in asked if one["id"] == answer["parameters"]["rdv_id"])
    assert (line["key"], line["schedule"], line["deadline_ms"]) == ("u-1", "production", 55.5)
    assert line["x_request_id"] == "trace-7"
    assert line["not_asked"] == ["gbm"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "not JSON"),
        ({"inputs": []}, 400, "no inputs"),
        ({"inputs": [column("a", "FP64", [1])], "parameters": {"rdv_models": "x"}}, 422, "x"),
        ({"inputs": [column("a", "FP64", [1])], "outputs": [{"name": "z"}]}, 400, "'z'"),
        ({"inputs": [column("a", "FP64", [1])], "parameters": {"timeout": "1"}}, 400, "timeout"),
        ({"inputs": [column("rdv_key", "BYTES", ["x" * 2000]), column("a", "INT8", [1])]}, 400, ""),
    ],
)
def test_what_is_refused(client, body, status, text):
    found, answer = client.post(body, path="/v2/models/fraud/infer")
    assert (found, text in answer["error"]) == (status, True), answer


def test_a_web_page_cannot_ask(client):
    body = {"inputs": [column("a", "FP64", [1])]}
    plain = {"Content-Type": "text/plain", "Origin": "http://evil.example"}
    assert client.post(body, plain, "/v2/models/fraud/infer")[0] == 403
    status, answer = client.post(body, {"Content-Type": "text/plain"}, "/v2/models/fraud/infer")
    assert (status, answer["code"]) == (415, "unsupported_media_type")
