"""Check what `rdv load` sends, counts and judges, without a server."""

from __future__ import annotations

import orjson
import pytest

from rdv.commands.load import progress_line, summary
from rdv.errors import LineUnusable
from rdv.load.figures import Figures
from rdv.load.rows import Row, is_right, make_rows

MS = 1_000_000


def bodies(*lines, key_field=None, extra=None):
    return [orjson.loads(row.body) for row in make_rows(lines, key_field, extra or {})]


def test_rows_are_data_or_hold_data():
    assert bodies(b'{"amount": 1}', b"\n", b"[1]") == [{"data": {"amount": 1}}, {"data": [1]}]
    (row,) = make_rows([b'{"data": {"a": 1}, "key": "k", "truth": 3}'], None, {})
    assert (orjson.loads(row.body), row.truth) == ({"data": {"a": 1}, "key": "k"}, 3)
    # A row with other fields is data as a whole, even if one of its fields is called "data".
    assert bodies(b'{"data": 1, "amount": 2}') == [{"data": {"data": 1, "amount": 2}}]


def test_keys_and_schedules():
    assert bodies(b'{"user": 7}', key_field="user")[0]["key"] == "7"
    assert bodies(b'{"user": "u"}', key_field="user", extra={"schedule": "x"})[0] == {
        "data": {"user": "u"},
        "key": "u",
        "schedule": "x",
    }


@pytest.mark.parametrize(
    ("lines", "key_field", "says"),
    [
        ([b"{"], None, "line 1 of the input is not JSON"),
        ([b'{"a": 1}'], "user", "line 1 of the input has no field 'user'"),
        ([b"\n"], None, "nothing to send"),
    ],
)
def test_rows_that_cannot_be_sent(lines, key_field, says):
    with pytest.raises(LineUnusable) as caught:
        make_rows(lines, key_field, {})
    assert says in caught.value.text()


@pytest.mark.parametrize(
    ("result", "truth", "verdict"),
    [
        ({"bin": 7, "confidence": 0.9}, {"bin": 7}, True),
        ({"bin": 8}, {"bin": 7}, False),
        ({"score": 0.1}, {"fraud": False}, None),
        ({"label": "a"}, "a", True),
        ({"bin": 1}, 2, False),
        ({"score": 1}, 2, None),
        (3, 3, True),
        ({"bin": 7}, {}, None),
        (7, {"bin": 7}, None),
    ],
)
def test_whether_an_answer_is_right(result, truth, verdict):
    assert is_right(result, truth) is verdict


def answer(kind="preferred", model="gbm", result=1, waited_ms=1.0, schedule="s@1"):
    return orjson.dumps(
        {
            "kind": kind,
            "model": model,
            "result": result,
            "waited_ms": waited_ms,
            "schedule": schedule,
            "id": "x",
        }
    )


@pytest.fixture
def figures():
    return Figures([Row(b"", 1), Row(b"", 2), Row(b"")], lambda label: 50.0)


def test_what_is_counted(figures):
    figures.answered(0, 200, 2 * MS, MS, answer())
    figures.answered(1, 200, 61 * MS, MS, answer(waited_ms=55))
    figures.answered(2, 200, 70 * MS, MS, answer("fallback", "mlp", waited_ms=61))
    figures.answered(3, 200, 2 * MS, MS, answer("default", None))
    figures.answered(4, 429, MS, MS, b"{}")
    figures.answered(5, 200, MS, MS, b"not json")
    figures.failed(6, "timeout", 5)
    assert (figures.missed_by_client, figures.missed_by_proxy, figures.garbled) == (2, 1, 1)
    assert figures.right_share() == 0.5
    measured = figures.measured()
    assert (measured["default"], measured["fallback"]) == (1 / 7, 1 / 7)
    assert (measured["misses"], measured["errors"]) == (2 / 7, 2 / 7)
    run = summary(figures, 2.0, "open loop")
    assert (run["requests"], run["rate"], run["errors"]) == (7, 3.5, 2)
    assert run["models"][0] == {
        "model": "gbm",
        "kind": "preferred",
        "answers": 2,
        "share": 0.5,
        "right": 0.5,
    }
    assert "50.0 %" in progress_line(1.0, figures, 1.0)


def test_a_run_without_requests_has_figures(figures):
    run = summary(figures, 0.0, "open loop")
    assert (run["requests"], run["models"], run["right"]) == (0, [], None)
    assert figures.measured()["misses"] == 0
