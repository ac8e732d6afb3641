"""Check several rows in one request through HTTP, keys that are numbers, and NaN in a body."""

from __future__ import annotations

import json

import pytest
from echo import echoing

SETTINGS = """
[http]
port = PORT
rows_max = 50
in_flight_max = 60
"""


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    with echoing(tmp_path_factory.mktemp("rows") / "d", SETTINGS) as running:
        yield running


def requests(decision, ids):
    lines = [json.loads(line) for _, line in decision.lines("input")]
    return [line for line in lines if line["id"] in ids]


def test_each_row_is_a_decision_and_the_answers_are_in_order(decision):
    rows = [{"n": n} for n in range(40)]
    status, answer = decision.ask({"rows": rows, "trace": True, "key": 7})
    assert status == 200
    answers = answer["answers"]
    assert [one["result"]["saw"] for one in answers] == rows
    ids = [one["id"] for one in answers]
    assert len(set(ids)) == 40
    assert all(one["kind"] == "preferred" and one["trace"] for one in answers)
    recorded = requests(decision, ids)
    assert [line["id"] for line in recorded] == ids
    assert {line["key"] for line in recorded} == {"7"}


def test_a_row_may_have_a_key_of_its_own(decision):
    rows = [1, {"data": {"a": 1}, "key": "k"}, {"data": 2}, {"data": 3, "more": 4}, {"key": "x"}]
    status, answer = decision.ask({"rows": rows, "key": "shared"})
    assert status == 200
    saw = [one["result"]["saw"] for one in answer["answers"]]
    assert saw == [1, {"a": 1}, 2, {"data": 3, "more": 4}, {"key": "x"}]
    recorded = requests(decision, [one["id"] for one in answer["answers"]])
    assert [line["key"] for line in recorded] == ["shared", "k", "shared", "shared", "shared"]


def test_what_concerns_all_rows_is_refused_as_a_whole(decision):
    for body, status, code in (
        ({"rows": []}, 400, "invalid_request"),
        ({"rows": [1] * 51}, 413, "too_many_rows"),
        ({"rows": {}}, 400, "invalid_request"),
        ({"rows": [1], "data": 1}, 400, "invalid_request"),
        ({"rows": [{"data": 1, "key": 1.5}]}, 400, "invalid_request"),
        ({"rows": [1], "schedule": "none"}, 422, "unknown_schedule"),
        ({"rows": [1], "models": ["none"]}, 422, "unknown_model"),
        ({"rows": [1], "deadline_ms": 0}, 400, "invalid_request"),
    ):
        found, answer = decision.ask(body)
        assert (found, answer["error"]["code"]) == (status, code), body


def test_rows_that_miss_their_deadline_get_the_default_and_the_status_is_200(decision):
    decision.signal("echo", 19)
    try:
        status, answer = decision.ask({"rows": [1, 2, 3], "deadline_ms": 30})
    finally:
        decision.signal("echo", 18)
    assert status == 200
    assert [one["kind"] for one in answer["answers"]] == ["default"] * 3


def test_a_repeat_gets_the_same_answers(decision):
    key = {"Idempotency-Key": '"rows-1"'}
    first = decision.ask({"rows": [1, 2]}, **key)
    assert decision.ask({"rows": [1, 2]}, **key) == first
    assert decision.ask({"rows": [1, 3]}, **key)[0] == 422


def test_rows_count_as_requests_in_flight(decision):
    decision.write(SETTINGS.replace("in_flight_max = 60", "in_flight_max = 30"))
    wanted = {"rows": list(range(40))}
    assert any(decision.ask(wanted)[0] == 429 for _ in range(2_000))
    _, answer = decision.ask(wanted)
    assert answer["error"]["code"] == "too_many_requests"
    assert decision.ask({"rows": [1, 2, 3]})[0] == 200
    decision.write(SETTINGS)
    assert any(decision.ask(wanted)[0] == 200 for _ in range(2_000))


@pytest.mark.parametrize(("key", "text"), [(42, "42"), (-7, "-7"), (2**64 - 1, str(2**64 - 1))])
def test_a_whole_number_as_key_is_its_decimal_text(decision, key, text):
    _, answer = decision.ask({"data": 1, "key": key, "trace": True})
    (line,) = requests(decision, [answer["id"]])
    assert line["key"] == text
    assert answer["trace"]


@pytest.mark.parametrize("key", ["true", "4.0", "1e2", "[]", "{}", str(2**64)])
def test_another_key_is_refused(decision, key):
    status, answer = decision.ask(b'{"data": 1, "key": %b}' % key.encode())
    assert status in (400, 422)
    assert "key" in answer["error"]["message"] or "number" in answer["error"]["message"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "Inf"])
def test_nan_is_named_with_its_place(decision, word):
    body = b'{"data": {"a \\" NaN": "NaN", "b": %b}}' % word.encode()
    status, answer = decision.ask(body)
    assert (status, answer["error"]["code"]) == (400, "malformed_json")
    place = body.index(word.encode() + b"}}")
    assert f"{word} is not JSON; send null (byte {place})" in answer["error"]["message"]
    status, answer = decision.ask(b'{"rows": [1, %b]}' % word.encode())
    assert f"{word} is not JSON; send null (byte 13)" in answer["error"]["message"]


def test_what_is_broken_before_a_nan_is_named_instead(decision):
    _, answer = decision.ask(b'{"data": tru, "b": NaN}')
    assert "NaN" not in answer["error"]["message"]
