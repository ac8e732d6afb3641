"""Check through HTTP that data which does not fit [schema] is refused, marked or answered."""

from __future__ import annotations

import json

import pytest
from echo import echoing

PORT = "[http]\nport = PORT\n"
COLUMNS = """
[schema.columns]
amount = { type = "number", min = 0, max = 1e6 }
country = { type = "string", values = ["de", "fr"], default = "de" }
"user.age" = { type = "integer", nullable = true }
note = { type = "string", required = false }
"""


def schema(rest=""):
    return f"{PORT}\n[schema]\n{rest}\n{COLUMNS}"


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    with echoing(tmp_path_factory.mktemp("schema") / "d", schema()) as running:
        yield running


def in_force(decision, settings, holds):
    """Write other settings; return once `holds` an answer."""
    decision.write(settings)
    assert any(holds() for _ in range(2_000))


@pytest.fixture
def rejects(decision):
    in_force(decision, schema(), lambda: decision.ask({"data": {}})[0] == 422)
    return decision


def requests(decision):
    return [json.loads(line) for topic, line in decision.lines("input")]


def test_an_empty_row_is_refused_before_anything_is_recorded(rejects):
    before = len(requests(rejects))
    status, answer = rejects.ask({"data": {}})
    assert status == 422
    assert answer["error"]["code"] == "bad_input"
    assert answer["error"]["faults"] == [{"path": "data.amount", "reason": "is missing"}]
    assert "data.amount is missing" in answer["error"]["message"]
    assert len(requests(rejects)) == before


def test_every_fault_is_named(rejects):
    data = {"amount": -1, "country": "us", "user": {"age": 1.5}, "note": 7}
    status, answer = rejects.ask({"data": data})
    assert status == 422
    assert [fault["path"] for fault in answer["error"]["faults"]] == [
        "data.amount",
        "data.country",
        "data.user.age",
        "data.note",
    ]


@pytest.mark.parametrize("data", [1, "a", None, [], True])
def test_data_that_is_no_object_is_refused(rejects, data):
    status, answer = rejects.ask({"data": data})
    assert (status, answer["error"]["code"]) == (422, "bad_input")
    assert answer["error"]["faults"][0]["path"] == "data"


def test_all_models_see_the_declared_defaults_and_the_log_has_them(rejects):
    status, answer = rejects.ask(b'{"data": {"amount": 1.50}}')
    assert status == 200
    full = {"amount": 1.5, "country": "de", "user": {"age": None}}
    assert answer["result"] == {"saw": full}
    (line,) = [line for _, line in rejects.lines("input") if answer["id"].encode() in line]
    assert json.loads(line)["data"] == full
    assert b"1.50" in line  # what was sent stays the text that it was


def test_complete_data_is_passed_on_byte_for_byte(rejects):
    sent = b'{"country": "fr", "amount": 1e2, "user": {"age": null}, "more": [1.0]}'
    status, answer = rejects.ask(b'{"data": %b}' % sent)
    assert status == 200
    assert any(sent in line for _, line in rejects.lines("input") if answer["id"].encode() in line)


def test_several_rows_are_refused_as_a_whole_and_each_is_named(rejects):
    before = len(requests(rejects))
    rows = [{"amount": 1}, {}, {"data": {"amount": "x"}, "key": "k"}]
    status, answer = rejects.ask({"rows": rows})
    assert status == 422
    paths = [fault["path"] for fault in answer["error"]["faults"]]
    assert paths == ["rows[1].data.amount", "rows[2].data.amount"]
    assert len(requests(rejects)) == before


def test_the_marked_default_says_bad_input(decision):
    settings = schema('on_invalid = "default"')
    in_force(decision, settings, lambda: decision.ask({"data": {}})[0] == 200)
    status, answer = decision.ask({"data": {"amount": -1}})
    assert (status, answer["kind"], answer["code"]) == (200, "default", "bad_input")
    assert "data.amount is -1, less than 0" in answer["reason"]
    assert answer["result"] == {"by": "default"}
    status, answer = decision.ask({"rows": [{"amount": 1}, {}]})
    assert [one["code"] for one in answer["answers"]] == ["", "bad_input"]


def test_invalid_data_may_pass_with_a_mark_in_its_record(decision):
    def passes():
        return decision.ask({"data": {}})[1].get("kind") == "preferred"

    in_force(decision, schema('on_invalid = "pass"'), passes)
    status, answer = decision.ask({"data": {"amount": -1}})
    assert (status, answer["kind"]) == (200, "preferred")
    assert answer["result"]["saw"] == {"amount": -1, "country": "de", "user": {"age": None}}
    (line,) = [line for line in requests(decision) if line["id"] == answer["id"]]
    assert line["invalid"] == "data.amount is -1, less than 0"


def test_unknown_columns_are_refused_where_that_is_said(decision):
    def refuses():
        return decision.ask({"data": {"amount": 1, "more": 1}})[0] == 422

    in_force(decision, schema('unknown = "reject"'), refuses)
    _, answer = decision.ask({"data": {"amount": 1, "more": 1, "user": {"x y": 2}}})
    paths = [fault["path"] for fault in answer["error"]["faults"]]
    assert sorted(paths) == ["data.more", 'data.user["x y"]']


def test_a_json_schema_and_a_pydantic_model_are_read_again_after_an_edit(decision):
    file = decision.directory / "schema.json"
    column = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    file.write_text(json.dumps(column))
    settings = f'{PORT}\n[schema]\njson_schema = "schema.json"\n'
    in_force(decision, settings, lambda: decision.ask({"data": {"a": 1}})[0] == 200)
    assert decision.ask({"data": {}})[0] == 422
    assert decision.ask({"data": {"a": 1.5}})[0] == 422
    file.write_text("{")  # half written: what was in force stays
    assert decision.ask({"data": {"a": 1.5}})[0] == 422
    file.write_text('{"properties": {"b": {"const": 1}}, "required": ["b"]}')
    assert any(decision.ask({"data": {"b": 1}})[0] == 200 for _ in range(2_000))
    (decision.directory / "row.py").write_text(
        "from pydantic import BaseModel, Field\n"
        "class Part(BaseModel):\n    size: float = Field(gt=0)\n"
        "class Row(BaseModel):\n"
        "    parts: list[Part]\n    tag: str | None = None\n    more: dict[str, int] = {}\n"
    )
    settings = f'{PORT}\n[schema]\npydantic = "row.py:Row"\n'
    in_force(decision, settings, lambda: decision.ask({"data": {"parts": []}})[0] == 200)
    _, answer = decision.ask({"data": {"parts": [{"size": 1}]}})
    assert answer["result"]["saw"] == {"parts": [{"size": 1}], "tag": None, "more": {}}
    _, answer = decision.ask({"data": {"parts": [{"size": 0}], "more": {"a": "b"}}})
    paths = [fault["path"] for fault in answer["error"]["faults"]]
    assert paths == ["data.parts[0].size", "data.more.a"]


def test_without_a_schema_any_data_passes_again(decision):
    in_force(decision, PORT, lambda: decision.ask({"data": {}})[0] == 200)
    assert decision.ask({"data": [1, None]})[1]["result"] == {"saw": [1, None]}
