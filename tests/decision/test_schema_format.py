"""Check that [schema] is read as written, and that an error of it names its column."""

from __future__ import annotations

import msgspec
import pytest

from rdv.decision import Decision, InvalidDecision, parse_decision
from rdv.decision.schema_tree import fill_of, tree_of_columns
from rdv.decision.text import decision_text

TEXT = """
[schema]
on_invalid = "default"
unknown = "reject"

[schema.columns]
amount = { type = "number", min = 0, max = 1e6 }
country = { type = "string", values = ["de", "fr"], default = "de" }
"user.age" = { type = "integer", nullable = true }
"user.name" = { type = "string", required = false }
'a\\.b' = { type = "list", items = { type = "number" }, length_min = 2, length_max = 2 }
"""


def read(text):
    return parse_decision(text, "rdv.toml")


def test_columns_become_a_tree():
    tree = tree_of_columns(read(TEXT).schema, "rdv.toml")
    assert list(tree.fields) == ["amount", "country", "user", "a.b"]
    assert [name for name, node in tree.fields.items() if node.required] == ["amount", "a.b"]
    assert fill_of(tree.fields["user"]) == {"age": None}
    assert fill_of(tree.fields["country"]) == "de"
    assert tree.fields["a.b"].items.types == ("number",)


def test_the_section_survives_being_written_and_published():
    decision = read(TEXT)
    assert read(decision_text(decision)).schema == decision.schema
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


@pytest.mark.parametrize(
    ("column", "key", "reason"),
    [
        ("{ type = 'numbr' }", "schema.columns.x.type", "invalid enum value 'numbr'"),
        ("{ typ = 'number' }", "schema.columns.x.typ", "no such setting"),
        ("{ type = 'string', min = 1 }", "schema.columns.x.min", "number"),
        ("{ type = 'number', min = 2, max = 1 }", "schema.columns.x.min", "more than max"),
        ("{ type = 'number', min = nan }", "schema.columns.x.min", "not a finite"),
        ("{ type = 'number', default = 'a' }", "schema.columns.x.default", "not a number"),
        ("{ type = 'number', default = inf }", "schema.columns.x.default", "not JSON"),
        ("{ type = 'datetime', default = 2026-11-22 }", "schema.columns.x.default", "not JSON"),
        ("{ type = 'integer', values = [1, 1.5] }", "schema.columns.x.values", "1.5"),
        ("{ values = [] }", "schema.columns.x.values", "empty"),
        ("{ type = 'string', pattern = '(' }", "schema.columns.x.pattern", "regular expression"),
        ("{ default = 1, required = true }", "schema.columns.x.default", "never used"),
        ("{ type = 'list', items = { default = 1 } }", "schema.columns.x.items", "no default"),
        ("{ age = { type = 'number' } }", "schema.columns.x.age", '"x.age"'),
        ("{}\n'x.y' = {}", "schema.columns.x.y", "column of its own"),
        ("1", "schema.columns.x", "is a table"),
    ],
)
def test_a_wrong_column_is_named(column, key, reason):
    with pytest.raises(InvalidDecision) as error:
        read(f"[schema.columns]\nx = {column}\n")
    assert error.value.key == key
    assert reason in error.value.reason


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('json_schema = "a.json"\npydantic = "a.py:A"', "schema"),
        ('unknown = "reject"', "schema.unknown"),
        ('pydantic = "a.py"', "schema.pydantic"),
        ('on_invalid = "ignore"', "schema.on_invalid"),
        ("colums = {}", "schema.colums"),
        ("columns = 1", "schema.columns"),
    ],
)
def test_a_wrong_section_is_named(text, key):
    with pytest.raises(InvalidDecision) as error:
        read(f"[schema]\n{text}\n")
    assert error.value.key == key
