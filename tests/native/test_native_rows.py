"""Check that rows are read into a matrix as Python reads them."""

from __future__ import annotations

import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native_kit import quick

from rdv.models.adapters.common import Table

NAMES = ["a", "größe", "b c", ""]
LOOK_ALIKES = ["aa", "b", "z", "b_c", "ß", "A"]

integers = st.integers(-(2**63), 2**64 - 1) | st.integers(-9, 9)
floats = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def number_texts(draw):
    """Return a number as JSON may have it, also in forms that no writer uses."""
    if draw(st.booleans()):
        return draw(integers.map(str) | floats.map(repr))
    digits = st.text("0123456789", min_size=1, max_size=draw(st.sampled_from([2, 17, 20, 40])))
    whole = draw(digits).lstrip("0") or "0"
    part = draw(digits.map(lambda text: "." + text) | st.just(""))
    sign = draw(st.sampled_from(["", "+", "-"]))
    power = draw(st.integers(0, 30) | st.integers(0, 400))
    exponent = draw(st.just("") | st.sampled_from("eE").map(lambda e: f"{e}{sign}{power}"))
    return draw(st.sampled_from(["", "-"])) + whole + part + exponent


usual = number_texts() | st.sampled_from(["true", "false", "null"])
others = st.sampled_from(['"text"', '""', "[]", "{}", "[1]", '"\\u0041"', '"ä"', "01", "1.", "nul"])
spaces = st.text(" \t\n\r", max_size=2)


@st.composite
def objects(draw, value, *, whole=False):
    """Return an object's text: any order of the fields, also twice, with others between."""
    keys = st.sampled_from(NAMES + LOOK_ALIKES)
    found = draw(st.lists(keys, max_size=6))
    if whole or draw(st.booleans()):
        found = draw(st.permutations(found + NAMES))
    fields = [f"{draw(spaces)}{as_key(draw, one)}{draw(spaces)}:{draw(value)}" for one in found]
    return "{" + ",".join(fields) + draw(spaces) + "}"


def as_key(draw, name):
    return json.dumps(name, ensure_ascii=draw(st.integers(0, 9)) == 0)


@st.composite
def arrays(draw, value):
    cells = draw(st.lists(value, min_size=3, max_size=5))
    return "[" + ",".join(f"{draw(spaces)}{cell}{draw(spaces)}" for cell in cells) + "]"


def read(native, names, rows, *, fills=False, count=4):
    columns = native.columns(names, count)
    matrix = np.full((len(rows), count), 7.0)
    return matrix if native.rows(columns, rows, matrix, fills) else None


def parsed(names, rows, *, fills=False):
    """Return what Python reads; None when it refuses the rows, or NumPy's overflow is infinite."""
    options = {"absent": "null"} if fills else {}
    try:
        return Table(names, 4, options).array([orjson.loads(row) for row in rows])
    except (ValueError, TypeError, KeyError):
        return None


def check(native, names, rows, *, fills):
    found = read(native, names, rows, fills=fills)
    if found is not None:
        expected = parsed(names, rows, fills=fills)
        assert expected is not None
        assert found.tobytes() == expected.tobytes()
    return found is not None


@quick
@given(
    texts=st.lists(objects(usual | others) | arrays(usual | others), min_size=1, max_size=4),
    is_named=st.booleans(),
    fills=st.booleans(),
)
@example(texts=['{"a":1,"größe":2,"b c":3,"":4,}'], is_named=True, fills=False)
@example(texts=['{"a":1,"größe":2,"b c":3,"":4}}'], is_named=True, fills=False)
@example(texts=["[1,2,3,4,]", "[1,2,3,4"], is_named=True, fills=False)
@example(texts=["{}", "{"], is_named=True, fills=True)
@example(texts=["[-0,-0.0,-0e0,0e999]"], is_named=False, fills=False)
@example(texts=["[1e309,1,1,1]"], is_named=False, fills=False)
@example(texts=["[5e-324,2.2250738585072014e-308,1,1e-400]"], is_named=False, fills=False)
def test_what_is_read_is_what_python_reads(native, texts, is_named, fills):
    rows = [text.encode() for text in texts]
    check(native, NAMES if is_named else None, rows, fills=fills)


@quick
@given(texts=st.lists(objects(integers.map(str) | floats.map(repr), whole=True), min_size=1))
def test_usual_rows_are_read(native, texts):
    """Python writes these numbers; those without full precision are left to it."""
    rows = [json.dumps(json.loads(text), ensure_ascii=False).encode() for text in texts]
    values = [value for row in rows for value in json.loads(row).values()]
    is_usual = all(value == 0 or abs(value) >= 2.3e-308 for value in values)
    keys = {key for row in rows for key in json.loads(row)}
    if is_usual and "ß" not in keys:
        assert check(native, NAMES, rows, fills=False)


@settings(quick, max_examples=400)
@given(number=number_texts())
@example("9007199254740993")
@example("9007199254740993.0")
@example("0.5000000000000000277555756156289135")
@example("8.41e21")
@example("4.5035996273704985e15")
@example("7205759403792793.5")
@example("1152921504606846975e-27")
@example("0.000000000000000000000012345678901234567")
@example("-123456789012345678e27")
def test_numbers_are_rounded_as_orjson_rounds_them(native, number):
    try:
        value = float(orjson.loads(number))
    except ValueError:
        assert read(native, None, [f"[{number}]".encode()], count=1) is None
        return
    found = read(native, None, [f"[{number}]".encode()], count=1)
    if found is None:
        assert value == 0 or abs(value) < 2.3e-308 or len(number) > 400
    else:
        assert struct.pack("d", found[0, 0]) == struct.pack("d", value)


def test_halves_between_two_doubles_are_rounded_as_orjson_rounds_them(native):
    """With 17 to 19 digits, where 64 bits of precision can lie in the middle of two doubles."""
    chance = np.random.default_rng(3)
    halves = (chance.integers(2**52, 2**53, 300).astype(object) * 2 + 1).tolist()
    texts = [f"{(half << 11) + near}e{power}"
             for half in halves[:150] for near in (-1, 0, 1) for power in (0, 1)
             if (half << 11) < 2**63]  # fmt: skip
    texts += [f"{half * 5**power}e-{power}" for half in halves for power in (1, 2, 3, 4)]
    for text in texts:
        found = read(native, None, [f"[{text}]".encode()], count=1)
        assert found[0, 0] == float(orjson.loads(text)), text


@pytest.mark.parametrize("name", ["a", '"', "\\", "\n", "\ud800"], ids=ascii)
def test_names_that_json_may_write_in_other_ways_are_left_to_python(native, name):
    assert native.columns(["a", name], 2) is None


def test_many_columns_are_found_in_any_order(native):
    names = [f"column {number}" for number in range(2000)]
    values = np.random.default_rng(4).normal(size=2000)
    row = dict(zip(names, values.tolist(), strict=True))
    mixed = dict(sorted(row.items(), key=lambda item: hash(item[1])))
    found = read(native, names, [orjson.dumps(row), orjson.dumps(mixed)], count=2000)
    assert (found == values).all()


def test_a_row_may_be_any_buffer(native):
    whole = b"[1,2][3,4]"
    rows = [memoryview(whole)[:5], bytearray(b"[3,4]")]
    assert read(native, None, rows, count=2).tolist() == [[1, 2], [3, 4]]


def test_no_byte_behind_a_row_is_read(native):
    """A row that ends too early is not completed by what lies behind it in memory."""
    whole = b'{"a":1.5e2,"b":true}'
    for size in range(len(whole)):
        assert read(native, ["a", "b"], [memoryview(whole)[:size]], count=2) is None
    assert read(native, ["a", "b"], [memoryview(whole)], count=2).tolist() == [[150, 1]]
