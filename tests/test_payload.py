"""Check the one rule for JSON: every library reads accepted texts as the same value."""

from __future__ import annotations

import json
import math

import msgspec
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdv.native import NATIVE
from rdv.payload import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    UnusableJson,
    check_numbers_and_depth,
    is_readable,
    look_in_python,
    read_json,
    read_recorded,
)


def nested(depth: int, inner: str = "1") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"18446744073709551616", "number_out_of_range"),
        (b"-9223372036854775809", "number_out_of_range"),
        (b'{"a":[1,{"b":100000000000000000000}]}', "number_out_of_range"),
        (b"1" * 400, "number_out_of_range"),
        (b"-" + b"9" * 5_000, "number_out_of_range"),
        (b"1e309", "number_out_of_range"),
        (b"[-1E+400]", "number_out_of_range"),
        (b"1" * 400 + b".5", "number_out_of_range"),
        (nested(DEPTH_MAX + 1), "nested_too_deeply"),
        (nested(254), "nested_too_deeply"),
        (nested(100_000), "nested_too_deeply"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested_too_deeply"),
        (b"\xef\xbb\xbf1", "malformed_json"),
        (b'"\\ud800"', "malformed_json"),
        (b'"\\udc00\\ud800"', "malformed_json"),
        (b'{"\\udead":1}', "malformed_json"),
        (b'"\xff"', "malformed_json"),
        (b'"\xed\xa0\x80"', "malformed_json"),
        (b"NaN", "malformed_json"),
        (b"[-Infinity]", "malformed_json"),
        (b"", "malformed_json"),
        (b"1 2", "malformed_json"),
        (b"01", "malformed_json"),
        (b"{'a':1}", "malformed_json"),
        (b"[1,]", "malformed_json"),
        (b'"\x00"', "malformed_json"),
    ],
)
def test_what_is_not_taken(text, code):
    with pytest.raises(UnusableJson) as caught:
        read_json(text)
    assert caught.value.code() == code
    assert caught.value.text().startswith("this is ")


def test_what_is_wrong_is_named():
    for text, said in [
        (b'{"a": 18446744073709551616}', "the whole number at byte 6 is not within -2^63 to 2^64"),
        (nested(101), "nested more than 100 deep, from byte 100 on"),
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (b'"a\xff"', "not valid UTF-8"),
    ]:
        with pytest.raises(UnusableJson) as caught:
            read_json(text)
        assert said in caught.value.text()


@pytest.mark.parametrize(
    "text",
    [
        str(INTEGER_MIN),
        str(INTEGER_MAX),
        "-0",
        "-0.0",
        "1e2",
        "1E-400",
        "5e-324",
        "1.7976931348623157e308",
        "0." + "0" * 400 + "1",
        "1" * 300 + ".0",
        "12345678901234567890123.5",
        '"18446744073709551616"',
        '"1e999 [[[[ \\" 99999999999999999999999"',
        '{"":1,"":2,"a":{"":[]}}',
        '"\\u0000\u2028\\ud83d\\ude00"',
        '"' + "[" * 1_000 + '"',
        "[" + ",".join(["{}"] * 1_000) + "]",
    ],
)
def test_what_is_taken(text):
    value = read_json(text)
    assert value == read_json(text.encode())
    assert value == json.loads(text)
    assert value == msgspec.json.decode(text)
    orjson.dumps(value)


def test_the_greatest_depth_is_taken():
    assert read_json(nested(DEPTH_MAX)) == json.loads(nested(DEPTH_MAX))


def test_text_of_a_command_line_that_is_not_utf8():
    with pytest.raises(UnusableJson, match="not UTF-8"):
        read_json('"\udcff"')


numbers = (
    st.integers(-(2**66), 2**66)
    | st.integers(-(10**25), 10**25)
    | st.sampled_from([INTEGER_MIN - 1, INTEGER_MIN, INTEGER_MAX, INTEGER_MAX + 1])
).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
odd_numbers = st.sampled_from(
    ["1e999", "-1E+309", "1e-999", "9" * 400, "9" * 310 + ".5", "-0", "0e9"]
)
strings = st.text(max_size=6).map(lambda t: json.dumps(t, ensure_ascii=False)) | st.sampled_from(
    ['"\\\\"', '"\\""', '"[[["', '"1e999"', '"\\\\\\"]"', '"99999999999999999999999"']
)
texts = st.recursive(
    numbers | odd_numbers | strings | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]")
        | st.lists(st.tuples(strings, inner), max_size=4).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items) + "}"
        )
        | st.tuples(st.integers(90, 110), inner).map(lambda n: "[" * n[0] + n[1] + "]" * n[0])
    ),
    max_leaves=12,
).map(str.encode)


@given(texts)
@settings(max_examples=150)
def test_what_is_taken_is_the_same_to_every_library(text):
    try:
        value = read_json(text)
    except UnusableJson:
        return
    assert value == json.loads(text) == msgspec.json.decode(text)
    assert orjson.loads(orjson.dumps(value)) == value


def exact(text: bytes) -> set[str]:
    """Return what the rule refuses, by a slow way: from the values of a library without limits."""
    found: set[str] = set()

    def pairs(items):  # keeps values that a later key of the same name hides
        return dict(enumerate(value for _, value in items))

    def walk(value, depth):
        is_wide = isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX
        if is_wide or (isinstance(value, float) and not math.isfinite(value)):
            found.add("number_out_of_range")
        elif isinstance(value, (list, dict)):
            if depth == DEPTH_MAX:
                found.add("nested_too_deeply")
            for item in value.values() if isinstance(value, dict) else value:
                walk(item, depth + 1)

    walk(json.loads(text, object_pairs_hook=pairs), 0)
    return found


@given(texts)
@settings(max_examples=150)
@example(b'{"a":1e5,"b":18446744073709551616}')
@example(nested(DEPTH_MAX) + b" ")
def test_the_rule_is_what_it_says(text):
    wanted = exact(text)
    assert (refusal(text) in wanted) if wanted else (refusal(text) == "")


def refusal(text: bytes) -> str:
    try:
        check_numbers_and_depth(text)
    except UnusableJson as error:
        return error.kind
    return ""


@given(texts | st.binary(max_size=40), st.integers(0, 105))
@settings(max_examples=200)
@example(b'"\\', 1)
@example(b"]]]]", 0)
@example(b"-", 0)
@example(b"1" * 19, 0)
def test_c_and_python_find_the_same_in_sound_text(text, depth_max):
    assert NATIVE is not None
    try:
        json.loads(text)
    except ValueError:
        NATIVE.json_look(text, depth_max)  # any result will do: another library names the error
        return
    assert NATIVE.json_look(text, depth_max) == look_in_python(text, depth_max)


@given(texts)
@example(nested(255))
@example(nested(1_100))
@example(nested(300, "18446744073709551616"))
@example(b"[1e5," + nested(300) + b"]")
def test_what_an_old_log_holds_is_read_or_named(text):
    try:
        value = read_recorded(text)
    except UnusableJson:
        assert not is_readable(text)
    else:
        assert is_readable(text)
        orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
