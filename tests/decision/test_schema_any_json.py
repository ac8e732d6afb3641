"""Check that any JSON as a schema, and any [schema] table, gives a schema or a clear error."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rdv.decision import InvalidDecision
from rdv.decision.convert import make_decision
from rdv.decision.schema import Column, Schema
from rdv.decision.schema_check import SchemaChecker, read_tree, tree_text
from rdv.decision.schema_json import _KNOWN, tree_of_json_schema
from rdv.decision.schema_tree import fill_of, find_faults, tree_of_columns

KEYWORDS = sorted(_KNOWN)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "#", "#/properties/a", "#/anyOf/0", "string", "null", "[", "date"])
    | st.sampled_from([2**53, 2**70, -(2**70), "number", "integer", "object", "array"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner, max_size=3)
    ),
    max_leaves=6,
)
SCHEMAS = JSON | st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=4)


def is_carried(value: object) -> bool:
    """Return whether readers of JSON can carry it, as what a proxy lets through."""
    try:
        return bool(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return False


def use(schema: object, value: object) -> None:
    """Translate a schema and check a value; InvalidDecision is the only error."""
    try:
        tree = tree_of_json_schema(schema, "pass", "rdv.toml", "schema.json_schema")
    except InvalidDecision as error:
        said = error.text()
    else:
        check(tree, value)
        return
    assert "#" in said


def check(tree, value) -> None:
    read = read_tree(tree_text(tree))
    SchemaChecker(read).check(Raw(orjson.dumps(value)))
    list(find_faults(value, read))
    fill_of(read)


@given(SCHEMAS, JSON.filter(is_carried))
def test_any_json_is_a_schema_or_a_clear_error(schema, value):
    use(schema, value)
    use({"type": "object", "properties": {"a": schema}, "required": ["a"]}, {"a": value})


WRONG = [None, True, 1, -1, 1.5, 2**70, "", "x", [], [1], [[1]], [{}], [None], ["a", "a"], {},
         {"a": 1}, {"a": []}, {"a": {}}]  # fmt: skip


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("kind", ["", "object", "string", "integer", "array"])
def test_each_keyword_takes_any_json_or_says_what_is_wrong(keyword, kind):
    for value in WRONG:
        schema = {keyword: value} if keyword == "type" or not kind else {"type": kind} | {
            keyword: value}  # fmt: skip
        for data in ({"a": 1}, "a", 1, [1], None):
            use(schema, data)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"required": [[1]]}, "#/required is not a list of names"),
        ({"required": [3]}, "#/required is not a list of names"),
        ({"type": [["x"]]}, "#/type ['x'] is no type"),
        ({"type": []}, "#/type is neither a name"),
        ({"type": None}, "#/type is neither a name"),
        ({"pattern": 5}, "#/pattern is not a string"),
        ({"format": ["date"]}, "#/format is not a string"),
        ({"nullable": "no"}, "#/nullable is neither true nor false"),
        ({"uniqueItems": 1}, "#/uniqueItems is neither true nor false"),
        ({"properties": {}, "additionalProperties": 0}, "#/additionalProperties is neither"),
        ({"enum": None}, "#/enum is not a list"),
        ({"enum": [1, 2], "const": 3}, "#/const is not one of enum"),
        ({"enum": [1, 2], "const": True}, "#/const is not one of enum"),
        ({"minLength": True}, "#/minLength is not a length"),
        ({"maximum": "5"}, "#/maximum is not a number"),
        ({"$ref": "#x"}, "refers to '#x'"),
        ({"$ref": "#/anyOf/7", "anyOf": [{}]}, "which is not there"),
        ({"$ref": {}}, "refers to {}"),
        ({"anyOf": {}}, "#/anyOf is not a list of schemas"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_is_wrong_is_named(schema, said):
    with pytest.raises(InvalidDecision) as caught:
        tree_of_json_schema(schema, "pass", "rdv.toml", "schema.json_schema")
    assert said in caught.value.text()


def test_what_json_schema_allows_is_taken():
    schema = {
        "$defs": {"a b": {"type": ["null"]}, "n": {"minimum": 1, "anyOf": [{"type": "integer"}]}},
        "properties": {
            "x": {"$ref": "#/$defs/a%20b"},
            "y": {"$ref": "#/$defs/n/anyOf/0"},
            "z": {"type": ["string", "string"], "maxLength": 9007199254740991, "minLength": 1.0},
        },
    }
    tree = tree_of_json_schema(schema, "pass", "rdv.toml", "schema.json_schema")
    faults = [str(fault) for fault in find_faults({"x": 1, "y": 1.5, "z": ""}, tree)]
    assert [fault.split(" ")[0] for fault in faults] == ["data.x", "data.y", "data.z"]
    check(tree, {"x": None, "y": 1, "z": "a"})


TOML = LEAVES.filter(lambda value: value is not None) | st.sampled_from(
    [float("nan"), float("inf"), [], [[1]], {"type": "string"}, ["a", 1], {"a": {"b": 1}}]
)
TABLE = st.dictionaries(st.sampled_from(Schema.__struct_fields__), TOML, max_size=3)
COLUMNS = st.dictionaries(
    st.sampled_from(["a", "a.b", "", ".", "a.", "\\.", "a.b.c"]),
    st.dictionaries(st.sampled_from(Column.__struct_fields__), TOML, max_size=4),
    max_size=3,
)


@given(TABLE, COLUMNS)
def test_any_table_is_a_schema_or_a_clear_error(table, columns):
    for given_ in (table, table | {"columns": columns}):
        try:
            schema = make_decision({"schema": given_}, "rdv.toml").schema
            tree = tree_of_columns(schema, "rdv.toml")
        except InvalidDecision as error:
            said = error.text()
        else:
            check(tree, {"a": 1, "b": "x"})
            said = "schema"
        assert "schema" in said
