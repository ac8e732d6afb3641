"""Check that the OpenAPI document is true of the running proxy, and that its page needs no other.

Schemathesis makes valid and invalid requests from the document, and checks each answer by it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import MODELS, Client, Decision, write_decision

from rdv.decision import load_decision
from rdv.decision.accepted import accept_first
from rdv.decision.schema import Column, Schema
from rdv.decision.schema_tree import find_faults, tree_of_columns
from rdv.serve.proxy.oip import columns_of
from rdv.serve.proxy.openapi.data import schema_of
from rdv.serve.proxy.openapi.document import document_of
from rdv.serve.proxy.openapi.handler import facts_of

SCHEMA = """
[schema.columns]
amount = { type = "number", min = 0, max = 1e6 }
country = { type = "string", values = ["de", "fr"], default = "de" }
"user.age" = { type = "integer", nullable = true }
tags = { type = "list", items = { type = "string" }, length_max = 3, required = false }
"""

CONFIG = """
[phases.coverage]
unexpected-methods = ["PUT", "PATCH", "DELETE"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "422", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "413", "415", "422", "429"]

[[operations]]
include-path = "/v2/models/fraud/infer"
generation = { max-examples = 4 }
phases = { examples = { enabled = false } }

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "422", "429"]

[[operations]]
include-path-regex = "^/v2(?!/models/fraud/infer$)"
generation = { max-examples = 2 }
phases = { coverage = { enabled = false }, examples = { enabled = false } }

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "422", "429"]
"""
"""A valid request may still name an unknown schedule or a time to come: 422; and a tensor may have
more or fewer values than its shape: 400. The paths of versions are those without, once more.
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("openapi") / "fraud"
    decision = Decision(directory, write_decision(directory, more=SCHEMA))
    (directory / "requests.jsonl").write_text('{"data": {"amount": 5}}\n')
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def test_the_document_is_true_of_the_proxy(served, tmp_path):
    with Client(served.port) as client:
        _, document = client.get("/openapi.json")
    post = document["paths"]["/v1/decide"]["post"]
    # What a repeat with another body gets is for other tests.
    for operation in (post, document["paths"]["/v1/outcomes"]["post"]):
        operation["parameters"] = operation["parameters"][:1]
    for path in ("/v2/models/fraud/infer", "/v2/models/fraud/versions/{version}/infer"):
        operation = document["paths"][path]["post"]
        operation["parameters"] = [one for one in operation["parameters"] if one["in"] == "path"]
    Path(tmp_path, "openapi.json").write_bytes(orjson.dumps(document))
    Path(tmp_path, "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--no-color"]
    command += ["--url", f"http://127.0.0.1:{served.port}", "--max-examples", "6", "--seed", "1"]
    command += ["--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_document_has_the_decisions_own_schema(served):
    with Client(served.port) as client:
        _, document = client.get("/openapi.json")
        accepted = client.post({"data": {"amount": 1}})
        refused = client.post({"data": {"amount": -1}})
        infer = document["paths"]["/v2/models/fraud/infer"]["post"]
        example = infer["requestBody"]["content"]["application/json"]["example"]
        inferred = client.post(example, path="/v2/models/fraud/infer")
    assert document["openapi"].startswith("3.1")
    data = document["components"]["schemas"]["Data"]
    assert data["properties"]["amount"] == {"type": "number", "minimum": 0, "maximum": 1e6}
    assert data["properties"]["country"]["default"] == "de"
    assert (accepted[0], refused[0], inferred[0]) == (200, 422, 200)
    assert example["inputs"][0]["data"] == ['{"amount":5}']


PLAIN = """
[schema.columns]
amount = { type = "number", min = 0 }
country = { type = "string" }
"""


def test_the_tensors_are_those_of_the_decisions_schema(tmp_path):
    """A client made from the document asks with the tensors that the metadata has."""
    directory = tmp_path / "shop"
    write_decision(directory, more=PLAIN)
    document = document_of(facts_of(accept_first(load_decision(str(directory)))))
    schemas = document["components"]["schemas"]
    body = {"$ref": "#/components/schemas/InferRequest", "components": document["components"]}
    is_valid = jsonschema_rs.validator_for(body).is_valid
    request = document["paths"]["/v2/models/shop/infer"]["post"]["requestBody"]
    example = request["content"]["application/json"]["example"]
    assert [tensor["name"] for tensor in example["inputs"]] == ["amount", "country"]
    assert is_valid(example)
    amount, country = schemas["InferRequest"]["properties"]["inputs"]["items"]["anyOf"][:2]
    assert amount["properties"]["name"] == {"const": "amount"}
    assert amount["properties"]["datatype"]["enum"][0] == "FP64"
    assert country["properties"]["datatype"]["enum"] == ["BYTES"]
    assert set(document["paths"]) >= {"/v2", "/v2/models/shop", "/v2/health/ready"}
    assert not is_valid({"inputs": []})
    assert not is_valid({"inputs": [{**example["inputs"][0], "datatype": "FP8"}]})


def test_a_name_with_other_characters_is_quoted_in_paths(tmp_path):
    directory = tmp_path / "my {shop} é"
    write_decision(directory)
    document = document_of(facts_of(accept_first(load_decision(str(directory)))))
    assert "/v2/models/my%20%7Bshop%7D%20%C3%A9/infer" in document["paths"]


def test_metadata_of_the_open_inference_protocol_has_the_columns(served):
    with Client(served.port) as client:
        _, model = client.get("/v2/models/fraud")
    assert [tensor["name"] for tensor in model["inputs"]] == ["data"]  # a list, and an object
    tree = tree_of_columns(Schema(columns={"n": Column(type="number")}), "rdv.toml")
    assert columns_of(orjson.dumps(msgspec.to_builtins(tree)).decode()) == {"n": "number"}


def test_the_page_needs_no_other_host(served):
    with Client(served.port) as client:
        client._connection.request("GET", "/docs")
        response = client._connection.getresponse()
        text = response.read().decode()
    assert response.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "POST /v1/decide" in text
    assert "<script" not in text
    assert f"http://127.0.0.1:{served.port}/v1/decide" in text
    assert text.count("http://") == text.count("http://127.0.0.1")


COLUMNS = {
    "n": Column(type="number", min=0, below=10),
    "i": Column(type="integer", nullable=True),
    "s": Column(type="string", length_max=2, default="x"),
    "b": Column(type="boolean", required=False),
    "v": Column(values=["a", 1]),
    "user.age": Column(type="integer", above=3),
    "tags": Column(type="list", items=Column(type="string"), length_min=1, required=False),
}
VALUES = st.none() | st.booleans() | st.integers(-2, 12) | st.sampled_from(["a", "xyz", "", 2.5])
ROWS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["n", "i", "s", "b", "v", "else"], VALUES),
        "user": VALUES | st.fixed_dictionaries({}, optional={"age": VALUES}),
        "tags": VALUES | st.lists(VALUES, max_size=2),
    },
)
LIKELY = st.fixed_dictionaries(
    {"n": st.integers(0, 12), "v": st.sampled_from(["a", 1, 2])},
    optional={"i": VALUES, "user": st.just({"age": 5}), "tags": st.lists(st.text(max_size=1))},
)


@pytest.mark.parametrize("unknown", ["pass", "reject"])
@given(ROWS | LIKELY)
def test_json_schema_says_what_the_proxy_checks(unknown, row):
    tree = tree_of_columns(Schema(columns=COLUMNS, unknown=unknown), "rdv.toml")
    is_valid = jsonschema_rs.is_valid(schema_of(tree), row)
    assert is_valid == (not list(find_faults(row, tree)))
