"""Check that a model's return value becomes JSON or a reason why not, never a silent null."""

from __future__ import annotations

import dataclasses
import enum
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.messages import InvalidModelResult, check_result_json, encode_model_result


@dataclasses.dataclass
class Answer:
    score: float
    label: str | None = None


class Odd(enum.Enum):
    NAN = math.nan
    NONE = None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"p": 0.5, "why": None}, b'{"p":0.5,"why":null}'),
        (np.float32(0.5), b"0.5"),
        (np.array([[1, 2], [3, 4]]), b"[[1,2],[3,4]]"),
        (np.array([[1.0, 2.0], [3.0, 4.0]])[:, 0], b"[1.0,3.0]"),
        ({"p": np.float64(1), "none": None, "v": np.arange(2)}, b'{"p":1.0,"none":null,"v":[0,1]}'),
        ({0: 0.25, 1: 0.75}, b'{"0":0.25,"1":0.75}'),
        (dict(zip(np.array([3, 5]), np.array([0.5, 0.5]), strict=True)), b'{"3":0.5,"5":0.5}'),
        (Answer(0.5), b'{"score":0.5,"label":null}'),
        ({"b", "a"}, b'["a","b"]'),
        (np.array(["x"], dtype=object), b'["x"]'),
        ("null", b'"null"'),
        (False, b"false"),
        ([Odd.NONE], b"[null]"),
    ],
)
def test_accepted(value, text) -> None:
    assert bytes(encode_model_result(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "result is None"),
        (math.nan, "result is nan"),
        ({"p": [0.1, -math.inf]}, "result.p[1] is -inf"),
        (np.float32("nan"), "result is nan"),
        (np.float16("inf"), "result is inf"),
        ({"v": np.array([[1.0], [np.nan]])}, "result.v[1][0] is nan"),
        (np.array([1.0, np.nan])[::2].repeat(2) * np.nan, "result[0] is nan"),
        ([{"a": None}, {0: math.nan}], "result[1].0 is nan"),
        (Answer(math.inf), "result.score is inf"),
        ([Odd.NAN], "result[0] is nan"),
        ({math.nan}, "result[0] is nan"),
        (np.datetime64("NaT"), "not JSON"),
        (2**70, "not JSON"),
        (1j, "not JSON"),
        (object(), "not JSON serializable: object"),
        ("\ud800", "not JSON"),
        ({("a", 1): 2}, "not JSON"),
    ],
)
def test_refused(value, text) -> None:
    with pytest.raises(InvalidModelResult) as caught:
        encode_model_result(value)
    assert text in caught.value.text()


def test_circles_and_depth_are_refused() -> None:
    circle: list = []
    circle.append(circle)
    with pytest.raises(InvalidModelResult, match="not JSON"):
        encode_model_result(circle)


def test_size_is_limited() -> None:
    with pytest.raises(InvalidModelResult, match="has 12 bytes, more than 10"):
        encode_model_result("x" * 10, bytes_max=10)
    with pytest.raises(InvalidModelResult, match="more than 2"):
        check_result_json(b"[1]", bytes_max=2)


numbers = st.floats() | st.integers(-(2**60), 2**60)
values = st.recursive(
    st.none() | numbers | st.lists(numbers, max_size=3).map(np.array),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def has_no_number(value) -> bool:
    if isinstance(value, dict):
        return any(map(has_no_number, value.values()))
    if isinstance(value, (list, np.ndarray)):
        return any(map(has_no_number, value))
    return isinstance(value, (float, np.floating)) and not math.isfinite(value)


@given(values)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_nan_is_never_written_as_null(value) -> None:
    try:
        text = bytes(encode_model_result(value))
    except InvalidModelResult:
        assert value is None or has_no_number(value)
    else:
        assert not has_no_number(value)
        json.loads(text)


@pytest.mark.parametrize("text", [b"NaN", b"1e999", b'"\xff"', b'"\\ud800"', b"", b"1 2", b"null"])
def test_foreign_json_is_checked(text) -> None:
    with pytest.raises(InvalidModelResult):
        check_result_json(text)


def test_foreign_json_is_kept() -> None:
    assert bytes(check_result_json(b' {"p": 1.50}\n')) == b'{"p": 1.50}'
