"""Check that a message is one line for every reader, whatever line breaks its JSON came with."""

from __future__ import annotations

import json

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from rdv.models.batch import check_result
from rdv.models.batch import encode_result as encode_model_result
from rdv.models.child import question
from rdv.models.decoy import Decoy
from rdv.rendezvous.messages import Request, Result, encode_request, encode_result, one_line
from rdv.serve.batches import REQUESTS, RESULTS

SPACES = st.text(alphabet=" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def spaced_json(draw) -> bytes:
    """Draw JSON with white space of every kind between its tokens, and none within its strings."""

    def text(value) -> str:
        space = draw(SPACES)
        if isinstance(value, dict):
            inner = ",".join(f"{text(key)}:{text(item)}" for key, item in value.items())
            return f"{space}{{{inner}{draw(SPACES)}}}{draw(SPACES)}"
        if isinstance(value, list):
            return f"{space}[{','.join(map(text, value))}{draw(SPACES)}]{draw(SPACES)}"
        return f"{space}{json.dumps(value, ensure_ascii=draw(st.booleans()))}{draw(SPACES)}"

    return text(draw(VALUES)).strip(" \t\r\n").encode()


def is_one_line(line: bytes) -> bool:
    return line.endswith(b"\n") and b"\r" not in line and line.count(b"\n") == 1


@given(spaced_json())
def test_a_line_break_becomes_a_space_and_nothing_else_changes(raw):
    made = one_line(raw)
    assert b"\n" not in made
    assert b"\r" not in made
    assert len(made) == len(raw)
    assert orjson.loads(made) == orjson.loads(raw)


@given(st.lists(spaced_json(), min_size=1, max_size=5))
def test_every_message_is_one_line(bodies):
    requests = [
        Request(f"{n:032x}", 0, "h", 0, "p", msgspec.Raw(body)) for n, body in enumerate(bodies)
    ]
    lines = REQUESTS.write(requests)
    assert lines == [encode_request(request) for request in requests]
    results = [
        Result(f"{n}", "p", "default", msgspec.Raw(b), "s", 1.0) for n, b in enumerate(bodies)
    ]
    told = RESULTS.write(results)
    assert told == [encode_result(result) for result in results]
    asked = [question(n, body) for n, body in enumerate(bodies)]
    for line in (*lines, *told, *asked):
        assert is_one_line(line)
    for body, line in zip(bodies, lines, strict=True):
        assert orjson.loads(line)["data"] == orjson.loads(body)


@given(spaced_json().filter(lambda raw: raw != b"null"))
def test_a_models_result_has_no_line_break(raw):
    wrote = check_result(raw)
    returned = encode_model_result(orjson.Fragment(raw))
    for found in (wrote, returned):
        assert isinstance(found, bytes), found
        assert is_one_line(found + b"\n")
        assert orjson.loads(found) == orjson.loads(raw)


def test_the_archive_of_a_decoy_has_a_line_for_each_record(tmp_path):
    decoy = Decoy(str(tmp_path), 1_000_000, wall_s=lambda: 0.0)
    decoy.predict([b'{"a":\r\n1}\n', b'{"a":\r2}', b'{"a":\n\n3}\n'])
    (archive,) = tmp_path.iterdir()
    assert [orjson.loads(line)["a"] for line in archive.read_bytes().splitlines()] == [1, 2, 3]
