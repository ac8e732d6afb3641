"""Check that a message is one line of JSON, survives a round trip, and names garbage."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdv.errors import DataFault
from rdv.moment import InvalidMoment
from rdv.rendezvous.messages import (
    Arrival,
    MalformedMessage,
    ReportedOutcome,
    Request,
    Result,
    ResultLines,
    Score,
    Truth,
    decode_request,
    decode_result,
    decode_score,
    decode_truth,
    encode_request,
    encode_result,
    encode_score,
    encode_truth,
    score_outcome,
)

quick = settings(derandomize=True, deadline=None, max_examples=100)

text = st.text(max_size=8)
names = st.text(min_size=1, max_size=8)
ns = st.integers(0, 2**63 - 1)
ms = st.floats(0, 1e9)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
raws = st.tuples(plain, st.sampled_from([None, 2])).map(
    lambda pair: msgspec.Raw(json.dumps(pair[0], indent=pair[1], ensure_ascii=False).encode())
)
requests = st.builds(
    Request,
    id=names,
    time_ns=ns,
    host=text,
    monotonic_ns=ns,
    reply_to=names,
    data=raws,
    key=st.none() | text,
    schedule=st.none() | text | st.dictionaries(text, plain, max_size=3),
    cohort=st.none() | text,
    deadline_ms=st.none() | ms,
    trace=st.booleans(),
)
score_fields = {"id": names, "model": names, "version": text, "time_ns": ns, "queue_ms": ms}
scores = (
    st.builds(Score, **score_fields, result=raws)
    | st.builds(
        Score,
        **score_fields,
        detail=text,
        refusal=st.sampled_from(["behind", "expired", "not sampled"]),
    )
    | st.builds(Score, **score_fields, error=text)
)
results = st.builds(
    Result,
    id=names,
    reply_to=names,
    kind=st.sampled_from(["preferred", "fallback", "default"]),
    result=raws,
    schedule=text,
    waited_ms=ms,
    model=st.none() | text,
    reason=text,
    code=text,
    step=st.integers(0, 9),
    arrived=st.lists(st.builds(Arrival, text, ms, st.sampled_from(["result", "behind", "error"]))),
    answered_by=st.sampled_from(["server", "proxy"]),
)
truths = st.builds(Truth, id=names, outcome=raws, time_ns=st.none() | ns)
CODECS = {
    Request: (encode_request, decode_request),
    Score: (encode_score, decode_score),
    Result: (encode_result, decode_result),
    Truth: (encode_truth, decode_truth),
}


@given(requests | scores | results | truths)
@example(Request("i", 0, "h", 0, "p", msgspec.Raw(b'{\n "a":\r\n "\\n \xc3\xa9"}\n')))
@quick
def test_round_trip(message) -> None:
    encode, decode = CODECS[type(message)]
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["v"] == 1
    assert msgspec.to_builtins(plain_form(decode(line))) == plain_form(message)


def plain_form(message) -> dict:
    """Return a comparable form: Raw has no equality, and white space between tokens may differ."""
    fields = msgspec.structs.asdict(message)
    return {
        key: ("json", json.loads(bytes(value)))
        if isinstance(value, msgspec.Raw)
        else msgspec.to_builtins(value)
        if value is not msgspec.UNSET
        else None
        for key, value in fields.items()
    } | {"type": type(message).__name__}


def test_data_is_never_rewritten() -> None:
    """All models see the bytes of the request: order of keys, digits, escapes."""
    body = b'{"b": 1.50, "a": "\\u00e9", "big": 12345678901234567890123}'
    line = encode_request(Request("i", 0, "h", 0, "p", msgspec.Raw(body)))
    assert body in line
    assert bytes(decode_request(line).data) == body


@given(st.binary(max_size=60))
@quick
def test_garbage_is_malformed_and_nothing_else(garbage) -> None:
    for _, decode in CODECS.values():
        with pytest.raises(MalformedMessage) as caught:
            decode(garbage)
        assert str(caught.value).startswith("malformed ")


SCORE = b'{"v":1,"id":"i","model":"m","version":"1","time_ns":1'


@given(st.data())
@quick
def test_a_damaged_line_never_raises_anything_else(data) -> None:
    line = bytearray(SCORE + b',"result":{"p":[1,"\xc3\xa9"]}}\n')
    for _ in range(data.draw(st.integers(1, 3))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    try:
        score = decode_score(bytes(line[: data.draw(st.integers(0, len(line)))]))
    except MalformedMessage:
        return
    encode_score(score)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (SCORE + b"}", "has none of result, refusal, error"),
        (SCORE + b',"result":1,"error":"x"}', "has result and error of result"),
        (SCORE + b',"refusal":"tired"}', "Invalid enum value 'tired' - at `$.refusal`"),
        (SCORE + b',"result":1}{', "trailing characters"),
        (SCORE + b',"result":"\xff"}', "can't decode byte 0xff"),
        (SCORE + b',"result":NaN}', "invalid character"),
        (SCORE + b',"result":' + b"[" * 100_000, "nested too deeply"),
        (SCORE.replace(b'"v":1', b'"v":2') + b',"result":1}', "schema version"),
        (SCORE.replace(b'"time_ns":1', b'"time_ns":"1"') + b',"result":1}', "Expected `int`, got"),
        (SCORE.replace(b'"i"', b'"' + b"i" * 65 + b'"') + b',"result":1}', "length <= 64"),
        (b'{"v":1}', "missing required field `id`"),
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_it_says_what_is_wrong(line, reason) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode_score(line)
    error = caught.value
    assert isinstance(error, DataFault)
    assert error.noun == "score"
    assert error.line == line
    assert reason in error.text()
    assert len(error.text()) < 500


def test_an_impossible_score_is_not_written() -> None:
    with pytest.raises(ValueError, match="none of result, refusal, error"):
        encode_score(Score("i", "m", "1", 0))


def test_unknown_fields_are_ignored() -> None:
    """A newer writer of the same schema version may add fields."""
    assert decode_score(SCORE + b',"error":"x","mood":"fine"}').error == "x"


def test_outcomes() -> None:
    said = {"result": msgspec.Raw(b"1")}, {"refusal": "not sampled"}, {"error": ""}
    outcomes = [score_outcome(Score("i", "m", "1", 0, **fields)) for fields in said]
    assert outcomes == ["result", "not sampled", "error"]


def test_golden_lines() -> None:
    """Lines in existing logs must stay readable: change these only together with `v`."""
    request = Request("0a" * 16, 17, "box/boot", 5, "p-1", msgspec.Raw(b"[1]"), key="u", trace=True)
    assert encode_request(request) == (
        b'{"v":1,"id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","time_ns":17,"host":"box/boot",'
        b'"monotonic_ns":5,"reply_to":"p-1","data":[1],"key":"u","trace":true}\n'
    )
    score = Score("i", "gbm", "3", 17, 0.5, 2.25, 8, msgspec.Raw(b'{"p":1}'))
    assert encode_score(score) == (
        b'{"v":1,"id":"i","model":"gbm","version":"3","time_ns":17,"queue_ms":0.5,'
        b'"evaluation_ms":2.25,"batch_size":8,"result":{"p":1}}\n'
    )
    result = Result(
        "i",
        "p-1",
        "fallback",
        msgspec.Raw(b"1"),
        "production@ab",
        30.5,
        "logit",
        "1",
        "gbm behind",
        "champion_behind",
        2,
        [Arrival("gbm", 3.25, "behind")],
    )
    assert encode_result(result) == (
        b'{"v":1,"id":"i","reply_to":"p-1","kind":"fallback","result":1,'
        b'"schedule":"production@ab","waited_ms":30.5,"model":"logit","version":"1",'
        b'"reason":"gbm behind","code":"champion_behind","step":2,'
        b'"arrived":[["gbm",3.25,"behind"]]}\n'
    )


@quick
@given(
    st.text(min_size=1, max_size=64), names, text, ns, ms, ms, st.integers(1, 9), raws.map(bytes)
)
@example("0af3", "gbm", "1", 5, 1.25, 0.5, 32, b'{"score":0.5}')
@example('"},{', 'a"b', "\\", 5, 0.0, 0.5, 1, b"null")
def test_the_lines_of_a_batch_say_what_a_score_would(
    id_, model, version, time_ns, queue_ms, took_ms, size, result
) -> None:
    result = result.replace(b"\n", b" ")
    lines = ResultLines(model, version, time_ns, took_ms, size)
    (line,) = lines.lines([id_], [lines.after(queue_ms)], [result])
    raw = msgspec.Raw(result)
    score = Score(id_, model, version, time_ns, queue_ms, took_ms, size, raw)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_score(line) == score


def test_an_outcome_has_exactly_this_line() -> None:
    assert encode_truth(Truth("i", msgspec.Raw(b'{"label":1}'), 17)) == (
        b'{"v":1,"id":"i","outcome":{"label":1},"time_ns":17}\n'
    )
    assert decode_truth(b'{"id":"i","outcome":null}').time_ns is None


def test_the_time_of_an_outcome() -> None:
    now_ns = 1_777_638_600 * 10**9
    told = ReportedOutcome("i", msgspec.Raw(b"1"), "2026-05-01T12:30:00Z")
    assert told.truth(now_ns).time_ns == now_ns
    assert ReportedOutcome("i", msgspec.Raw(b"1")).truth(now_ns).time_ns is None
    with pytest.raises(InvalidMoment, match="in the future"):
        told.truth(now_ns - 3_600 * 10**9)


def test_an_outcome_counts_from_its_time_but_not_from_the_future() -> None:
    truth = Truth("i", msgspec.Raw(b"1"), 2**62)
    assert truth.counts_from_ns(5) == 5
    assert Truth("i", msgspec.Raw(b"1"), 3).counts_from_ns(5) == 3
    assert Truth("i", msgspec.Raw(b"1")).counts_from_ns(5) == 5
