"""Check how a model's result is encoded as JSON: NaN and infinities are refused."""

import dataclasses
import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.models import ModelError, check_result, encode_result
from rdv.models.batch import encode_results

NAN, INF = float("nan"), float("inf")


@dataclasses.dataclass
class Answer:
    score: float


class Broken:
    def tolist(self):
        raise SystemError("no list")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"score": 0.5}, b'{"score":0.5}'),
        ({"score": np.float32(0.5)}, b'{"score":0.5}'),
        (np.float64(0.5), b"0.5"),
        (np.int64(3), b"3"),
        (np.bool_(True), b"true"),
        (np.arange(4).reshape(2, 2), b"[[0,1],[2,3]]"),
        (np.arange(4)[::2], b"[0,2]"),
        ({np.int64(1): 0.5, 2: 0.5}, b'{"1":0.5,"2":0.5}'),
        ([{np.str_("a"): 1}], b'[{"a":1}]'),
        ({"x": {3, 1}}, b'{"x":[1,3]}'),
        (Answer(0.5), b'{"score":0.5}'),
        ({"a": None, "b": "null"}, b'{"a":null,"b":"null"}'),
        (False, b"false"),
        ("", b'""'),
    ],
)
def test_results(value, text):
    assert encode_result(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "result is None"),
        (NAN, "result is nan"),
        ({"score": NAN}, "result.score is nan"),
        ({"a": [1, {"b": -INF}]}, "result.a[1].b is -inf"),
        ({"a": np.array([1.0, INF])}, "result.a[1] is inf"),
        ({"a": np.float32("nan")}, "result.a is nan"),
        ({"a": np.array([1.0, NAN, 2.0])[::2]}, ""),
        (np.array([[1.0, NAN]]), "result[0][1] is nan"),
        ({np.int64(3): NAN}, "result.3 is nan"),
        (Answer(NAN), "result.score is nan"),
        ({"none": None, "x": (1, NAN)}, "result.x[1] is nan"),
        (object(), "not JSON serializable: object"),
        (b"bytes", "bytes"),
        (1 << 70, "64-bit"),
        ("\ud800", "not JSON"),
        (Broken(), "not JSON"),
    ],
)
def test_what_is_no_result(value, reason):
    outcome = encode_result(value)
    if not reason:
        assert outcome == b'{"a":[1.0,2.0]}'
        return
    assert isinstance(outcome, ModelError)
    assert outcome.cause == "result"
    assert reason in outcome.reason


def test_endless_and_deep_ones():
    loop = []
    loop.append(loop)
    assert isinstance(encode_result(loop), ModelError)
    deep = None
    for _ in range(100_000):
        deep = [deep]
    assert isinstance(encode_result(deep), ModelError)
    while deep:  # freeing it recursively would overflow the stack
        deep = deep[0]


def test_size_is_bounded():
    assert encode_result("x" * 8, 10) == b'"xxxxxxxx"'
    assert "11 bytes, more than 10" in str(encode_result("x" * 9, 10))
    assert "more than 3" in str(check_result(b"1234", 3))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


def finite(value):
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@given(values)
def test_exactly_what_is_finite_is_a_result(value):
    outcome = encode_result(value)
    assert isinstance(outcome, bytes) == (value is not None and finite(value))
    if isinstance(outcome, bytes):
        assert json.loads(outcome) == value


@given(st.lists(st.floats(width=32) | st.just(NAN), min_size=1))
def test_arrays_are_as_their_lists(numbers):
    array = np.array(numbers, np.float32)
    assert isinstance(encode_result(array), bytes) == bool(np.isfinite(array).all())


@pytest.mark.parametrize(
    "text", [b"null", b"NaN", b"[1e999]", b"{", b"", b'"\xff"', b'"\\ud800"', b"[" * 100_000]
)
def test_json_that_is_none(text):
    outcome = check_result(text)
    if text == b"[1e999]" and isinstance(outcome, bytes):
        assert math.isfinite(orjson.loads(outcome)[0])
    assert isinstance(outcome, ModelError)


def test_json_is_kept_as_it_is():
    assert check_result(b'{"a": 1.50}') == b'{"a": 1.50}'


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"a": [one]}])
@pytest.mark.parametrize(
    "raw",
    [
        *(b"{", b"[1,]", b"NaN", b"01", b"1e999", b"1 2", b"18446744073709551616"),
        *(b'"\\ud800"', b'"\xff"', b'"\x01"', b"1}],[{2", b"[" * 101 + b"]" * 101),
    ],
)
def test_a_fragment_that_is_not_json_is_an_error(raw, wrap):
    assert isinstance(encode_result(wrap(orjson.Fragment(raw))), ModelError)


def test_a_fragment_keeps_its_text_on_one_line():
    assert encode_result({"a": orjson.Fragment(b"[1e2,\n-0.0]")}) == b'{"a":[1e2, -0.0]}'
    assert isinstance(encode_result(orjson.Fragment(b"null")), ModelError)


FRAGMENTS = st.sampled_from(
    [
        b"1",
        b"1,2",
        b"[1",
        b"2]",
        b'"a',
        b'b"',
        b"1],[2",
        b"null",
        b"1e999",
        b"2\n",
        b" 1",
        b"",
        b"\xff",
    ]
).map(orjson.Fragment)
VALUES = st.recursive(
    st.none() | st.floats() | st.integers() | st.text(max_size=3) | FRAGMENTS | st.just({1, 2}),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([4, 1_000]))
def test_a_batch_is_encoded_as_its_rows_are(values, bytes_max):
    """This also holds where texts are invalid JSON on their own, but valid when joined."""

    def plain(outcomes):
        return [one if isinstance(one, bytes) else str(one) for one in outcomes]

    expected = [encode_result(value, bytes_max) for value in values]
    assert plain(encode_results(values, bytes_max)) == plain(expected)
