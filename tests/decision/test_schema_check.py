"""Check that the compiled check of [schema] accepts what the plain rule in Python accepts."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, UnsetType

from rdv.decision import InvalidDecision
from rdv.decision.convert import make_decision
from rdv.decision.schema_check import Checked, SchemaChecker, read_tree, tree_text
from rdv.decision.schema_json import tree_of_json_schema
from rdv.decision.schema_tree import fill_of, find_faults, tree_of_columns

NUMBERS = st.integers(-3, 3) | st.floats(-3, 3).map(lambda x: round(x, 1))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "2026-11-22"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
COLUMN = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["number", "integer"])},
        optional={"min": st.integers(-2, 0), "max": st.floats(0.5, 2), "above": st.just(-1.5)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "length_min": st.integers(0, 1),
            "length_max": st.integers(1, 2),
            "pattern": st.sampled_from(["a", "^b?$"]),
        },
    ),
    st.just({"type": "string", "values": ["a", ""]}),
    st.fixed_dictionaries(
        {"type": st.just("list")},
        optional={"items": st.just({"type": "number"}), "length_max": st.integers(1, 2)},
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["any", "boolean", "object", "datetime", "date"])}
    ),
    st.just({"values": [1, 2]}),
    st.just({"values": [True, "a", 1.5]}),
)
REST = st.sampled_from([{}, {"nullable": True}, {"required": False}])


@st.composite
def schemas(draw):
    names = draw(st.lists(st.sampled_from(["a", "b.a", "b.c", "c"]), unique=True, min_size=1))
    columns = {name: draw(COLUMN) | draw(REST) for name in names}
    table = {"columns": columns, "unknown": draw(st.sampled_from(["pass", "reject"]))}
    return tree_of_columns(make_decision({"schema": table}, "t").schema, "t")


@given(schemas(), st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4) | VALUES)
def test_the_compiled_check_agrees_with_the_rule(tree, value):
    checker = SchemaChecker(read_tree(tree_text(tree)))
    data = Raw(orjson.dumps(value))
    found = checker.check(data)
    faults = list(find_faults(value, tree))
    if not isinstance(found, Checked):
        assert found is data
        assert not faults
        assert filled(value, tree) == value
        return
    assert [*found.faults] == faults
    if isinstance(value, dict):
        assert orjson.loads(bytes(found.data)) == filled(value, tree)
    if not faults:
        again = checker.check(found.data)
        assert isinstance(again, Raw) or not again.faults


def filled(value, node):
    """Return a row with its defaults, by the rule."""
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for name, field in node.fields.items():
        if name in out:
            out[name] = filled(out[name], field)
        elif not isinstance(fill := fill_of(field), UnsetType):
            out[name] = fill
    return out


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [1, 1.0], [1.5, True, "1", None]),
        ({"type": ["number", "null"]}, [1, None], ["a"]),
        ({"enum": ["a", None, 1]}, ["a", None, 1, 1.0], ["b", True]),
        ({"const": None}, [None], [0]),
        ({"anyOf": [{"type": "string"}, {"type": "number", "maximum": 1}]}, ["a", 1], [2, None]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [1]),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, [1.5], [1]),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, "a"], [3]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, [None], [1]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, [{"a": 1}], [{"a": ""}]),
        ({"properties": {"a": True}, "additionalProperties": False}, [{"a": []}], [{"b": 1}]),
        ({"type": "array", "items": {"type": "array", "minItems": 1}}, [[[1]]], [[[]], [1]]),
        ({"type": "string", "format": "date-time"}, ["2026-11-22T14:00:00Z"], ["today"]),
        ({"type": "string", "format": "email"}, ["any"], [1]),
        ({"required": ["a"]}, [{"a": None}], [{}]),
        ({"enum": [1, 5], "maximum": 2}, [1], [5, 2]),
    ],
)
def test_json_schema(schema, good, bad):
    checker = SchemaChecker(tree_of_json_schema(schema, "pass", "t", "schema.json_schema"))
    for value in good:
        found = checker.check(Raw(json.dumps(value).encode()))
        assert isinstance(found, Raw) or not found.faults, value
    for value in bad:
        found = checker.check(Raw(json.dumps(value).encode()))
        assert isinstance(found, Checked), value
        assert found.faults, value


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"properties": {"a": {"multipleOf": 2}}}, "#/properties/a"),
        ({"properties": {"a": {"type": "float"}}}, "#/properties/a/type"),
        ({"properties": {"a": {"default": "x", "type": "number"}}}, "#/properties/a/default"),
        ({"$ref": "#/$defs/x"}, "#"),
        ({"$ref": "https://example.com/x"}, "#"),
        ({"$defs": {"x": {"items": {"$ref": "#/$defs/x"}}}, "$ref": "#/$defs/x"}, "itself"),
        ({"minimum": float("nan")}, "#/minimum"),
        ({"pattern": "("}, "#/pattern"),
        ({"enum": []}, "#/enum"),
        (False, "#"),
        ([], "#"),
    ],
)
def test_a_json_schema_that_cannot_be_checked_is_refused_with_its_place(schema, place):
    with pytest.raises(InvalidDecision) as error:
        tree_of_json_schema(schema, "pass", "t", "schema.json_schema")
    assert place in error.value.text()
