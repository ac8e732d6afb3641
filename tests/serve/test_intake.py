"""Check which bodies of `POST /v1/decide` are one request, several rows, or neither. Pure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.http import Failure
from rdv.payload import DEPTH_MAX
from rdv.serve.proxy.intake import Body, read_body, read_rows


def read(raw: bytes):
    """Return a body, rows, or a failure, as the proxy does."""
    body = read_body(raw)
    if isinstance(body, Failure) and body.code in ("invalid_request", "nested_too_deeply"):
        return read_rows(raw, 100) or body
    return body


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("body", [b'{"data": %b}', b'{"rows": [%b]}', b'{"rows": [{"data": %b}]}'])
def test_data_may_nest_as_deep_in_a_row_as_alone(body):
    found = read(body % nested(DEPTH_MAX))
    data = found.data if isinstance(found, Body) else found[0].data
    assert bytes(data) == nested(DEPTH_MAX)
    for depth in (DEPTH_MAX + 1, DEPTH_MAX + 2, DEPTH_MAX + 9):
        refused = read(body % nested(depth))
        assert (refused.status, refused.code) == (422, "nested_too_deeply"), depth


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (rb'{"r\u006fws": [1]}', [(b"1", None)]),
        (rb'{"rows": [{"d\u0061ta": 5}]}', [(b"5", None)]),
        (rb'{"rows": [{"data": 5, "k\u0065y": 42}]}', [(b"5", "42")]),
        (b'{"rows": [ { "data" : 1 } ]}', [(b"1", None)]),
        (b'{"rows": [{"data": 1}, 2], "key": 7}', [(b"1", "7"), (b"2", "7")]),
        (b'{"rows": [{"data": 1, "key": null}], "key": 7}', [(b"1", "7")]),
        (b'{"rows": [{"data": 1, "x": 2}]}', [(b'{"data": 1, "x": 2}', None)]),
        (b'{"rows": [1], "rows": [2, 3]}', [(b"2", None), (b"3", None)]),
        (b'{"rows": [{"rows": [1]}]}', [(b'{"rows": [1]}', None)]),
        (b'{"rows": [null, "\\u0000"]}', [(b"null", None), (b'"\\u0000"', None)]),
    ],
)  # fmt: skip
def test_rows(body, rows):
    assert [(bytes(one.data), one.key) for one in read(body)] == rows


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"42", "42"), (b"-42", "-42"), (b"-0", "0"), (b"18446744073709551615", str(2**64 - 1)),
        (b'"42", "key": 43', "43"), (b'43, "key": "42"', "42"), (b'43, "key": null', None),
    ],
)  # fmt: skip
def test_a_whole_number_as_key_is_its_text_and_the_last_of_two_counts(key, text):
    assert read(b'{"data": 1, "key": %b}' % key).key == text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"rows": null}', "rows is null: send a list"),
        (b'{"rows": []}', "rows is empty"),
        (b'{"rows": [1], "data": 2}', "both data and rows"),
        (b'{"rows": null, "data": 2}', "both data and rows"),
        (b'{"rows": 1}', "Expected `array | null`"),
        (b'{"data": 1, "key": 42.0}', "Expected `int | str | null`, got `float`"),
        (b'{"data": 1, "key": true}', "got `bool`"),
        (b'{"rows": [{"data": 1, "key": 1e3}]}', "rows[0]: Expected `int | str | null`"),
        (b'{"dta": 1}', "unknown field `dta`"),
        (b"{}", "missing required field `data`"),
        (b"[1]", "got `array`"),
    ],
)
def test_what_is_refused(body, message):
    found = read(body)
    assert (found.status, found.code) == (400, "invalid_request")
    assert message in found.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_a_row_is_what_it_is_alone(values, is_ascii, is_wrapped):
    rows = [{"data": value} for value in values] if is_wrapped else values
    found = read(json.dumps({"rows": rows}, ensure_ascii=is_ascii).encode())
    if is_wrapped or not any(isinstance(one, dict) and "data" in one for one in values):
        alone = [read(json.dumps({"data": value}).encode()).data for value in values]
        assert [json.loads(bytes(one.data)) for one in found] == [
            json.loads(bytes(one)) for one in alone
        ]
