"""Check the Open Inference Protocol over REST, at a decision with real processes."""

from __future__ import annotations

import gzip
import zlib

import orjson
import pytest
from running import Client

from rdv.codes import HTTP_CODES


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


def raw_post(client, path, body, headers):
    """Return the response and its body."""
    client._connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
    response = client._connection.getresponse()
    return response, response.read()


INFER = "/v2/models/fraud/infer"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_both_ways(client, coding):
    pack, unpack = (
        (gzip.compress, gzip.decompress) if coding == "gzip" else (zlib.compress, zlib.decompress)
    )
    body = orjson.dumps({"inputs": [column("a", "FP64", list(range(60)))]})
    headers = {"Content-Encoding": coding, "Accept-Encoding": coding}
    response, answer = raw_post(client, INFER, pack(body), headers)
    assert (response.status, response.headers["Content-Encoding"]) == (200, coding)
    assert len(output(orjson.loads(unpack(answer)), "by")) == 60
    binary = orjson.loads(body) | {"parameters": {"binary_data_output": True}}
    response, answer = raw_post(client, INFER, pack(orjson.dumps(binary)), headers)
    answer = unpack(answer)
    length = int(response.headers["Inference-Header-Content-Length"])
    sizes = [o["parameters"]["binary_data_size"] for o in orjson.loads(answer[:length])["outputs"]]
    assert len(answer) == length + sum(sizes)


def test_a_repeat_with_the_same_key_gets_the_same_answer(client, decision):
    body = orjson.dumps(
        {
            "inputs": [column("a", "FP64", [1, 2])],
            "outputs": [{"name": "score", "parameters": {"binary_data": True}}],
        }
    )
    headers = {"Idempotency-Key": "oip-1", "X-Request-Id": "trace-9"}
    before = len(list(decision.lines("input")))
    first, first_body = raw_post(client, INFER, body, headers)
    again, again_body = raw_post(client, INFER, body, headers)
    assert (first.status, again.status) == (200, 200)
    assert first_body == again_body
    assert first.headers.get("Idempotency-Replayed") is None
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("Content-Type", "Inference-Header-Content-Length", "X-Request-Id"):
        assert first.headers[name] == again.headers[name]
    assert len(list(decision.lines("input"))) == before + 2
    other = orjson.dumps({"inputs": [column("a", "FP64", [3])]})
    refused, refused_body = raw_post(client, INFER, other, headers)
    assert (refused.status, orjson.loads(refused_body)["code"]) == (422, "idempotency_key_reused")
    assert client.post({"data": {}}, headers)[0] == 200  # the key of another path is another


def test_a_repeat_has_the_coding_that_it_asks_for(client):
    body = orjson.dumps({"inputs": [column("a", "FP64", list(range(60)))]})
    key = {"Idempotency-Key": "oip-2"}
    _, packed = raw_post(client, INFER, body, {**key, "Accept-Encoding": "gzip"})
    response, plain = raw_post(client, INFER, body, key)
    assert response.headers["Content-Encoding"] is None
    assert gzip.decompress(packed) == plain


@pytest.mark.parametrize(
    ("method", "path", "extension"),
    [
        ("GET", "/v2/models/stats", "statistics"),
        ("GET", "/v2/models/fraud/stats", "statistics"),
        ("GET", "/v2/models/fraud/versions/production/stats", "statistics"),
        ("GET", "/v2/models/fraud/config", "model configuration"),
        ("POST", "/v2/repository/models/fraud/load", "model control"),
        ("POST", "/v2/repository/models/fraud/unload", "model control"),
        ("GET", "/v2/systemsharedmemory/status", "shared memory"),
        ("POST", "/v2/systemsharedmemory/region/r/register", "shared memory"),
        ("GET", "/v2/cudasharedmemory/region/r/status", "shared memory"),
        ("GET", "/v2/trace/setting", "trace"),
        ("POST", "/v2/logging", "logging"),
        ("POST", "/v2/models/fraud/generate", "generate"),
    ],
)
def test_extensions_that_are_not_served_are_named(client, method, path, extension):
    status, answer = client.get(path) if method == "GET" else client.post({}, path=path)
    assert (status, answer["code"]) == (501, "extension_not_served")
    assert f"the {extension} extension" in answer["error"]


def test_the_index_of_the_repository(client):
    entry = {"name": "fraud", "version": "production", "state": "READY", "reason": ""}
    for body in (b"", {}, {"ready": True}, {"ready": False}):
        assert client.post(body, path="/v2/repository/index") == (200, [entry])
    for body in ([], {"ready": 1}, b"{", b'"x"'):
        status, answer = client.post(body, path="/v2/repository/index")
        assert (status, isinstance(answer["error"], str)) == (400, True)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/", "GET, HEAD, OPTIONS"),
        ("/v2/health/ready/", "GET, HEAD, OPTIONS"),
        ("/v2/models/fraud", "GET, HEAD, OPTIONS"),
        ("/v2/models/fr%61ud/infer", "POST, OPTIONS"),
        ("/v2/models/fraud/versions/production/infer/", "POST, OPTIONS"),
    ],
)
def test_head_options_and_methods_that_a_path_does_not_take(client, path, allow):
    answers = {}
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE"):
        client._connection.request(method, path, headers={"Content-Length": "0"})
        response = client._connection.getresponse()
        answers[method] = (response.status, response.headers["Allow"], response.read())
    assert answers["OPTIONS"] == (204, allow, b"")
    assert answers["PUT"][:2] == answers["DELETE"][:2] == (405, allow)
    assert answers["HEAD"][0] == (200 if "HEAD" in allow else 405)
    assert answers["HEAD"][2] == b""


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"x", {"Content-Encoding": "gzip"}, "malformed_request"),
        (b"x", {"Content-Encoding": "br"}, "content_coding_unknown"),
        (b"x" * 2_000_000, {}, "body_too_large"),
        (gzip.compress(bytes(2_000_000)), {"Content-Encoding": "gzip"}, "body_too_large"),
        (b"x", {"Host": "evil.example"}, "misdirected_request"),
        (b"x", {"Origin": "http://evil.example"}, "foreign_origin"),
        (b"x", {"Expect": "tea"}, "expectation_failed"),
        (b"x", {"Idempotency-Key": 'a"b'}, "invalid_idempotency_key"),
        (b"x", {"X-Request-Id": "a b"}, "invalid_request_id"),
        (b"x", {"Content-Type": "text/plain"}, "unsupported_media_type"),
        (b"{}", {"Inference-Header-Content-Length": "3"}, "invalid_request"),
        (b"\x00\x01", {}, "malformed_json"),
        (b'{"inputs": [{"data": [NaN]}]}', {}, "malformed_json"),
    ],
)
def test_all_refusals_have_the_form_of_the_protocol(decision, body, headers, code):
    for path in (INFER, f"{INFER}?a=1", f"http://localhost:{decision.port}{INFER}"):
        with Client(decision.port) as client:
            response, answer = raw_post(client, path, body, headers)
        answer = orjson.loads(answer)
        assert (sorted(answer), answer["code"]) == (["code", "error"], code)
        assert (isinstance(answer["error"], str), response.status) == (True, HTTP_CODES[code][0])
