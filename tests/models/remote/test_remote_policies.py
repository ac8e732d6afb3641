"""Check the breaker, hedging and the codecs with made-up histories."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.decision import ModelConfig
from rdv.decision.remote import Remote
from rdv.models import ModelError
from rdv.models.remote.breaker import CALLS_MIN, WAIT_MS, WAIT_MS_MAX, Breaker
from rdv.models.remote.connection import Response
from rdv.models.remote.hedging import ANSWERS_MIN, BURST, Hedging
from rdv.models.remote.protocols import BadAnswer, BadRows, make_codec
from rdv.models.remote.settings import settings_of
from rdv.models.remote.verdict import verdict_of
from rdv.retry_after import retry_after_ms

MS = 1_000_000


def codec(protocol="json", **remote):
    model = ModelConfig(http="http://a", protocol=protocol, remote=Remote(**remote))
    return make_codec("m", settings_of(model.remote_values()), 10_000)


def opened(breaker, now_ns=0):
    while breaker.state(now_ns) == "closed":
        breaker.ended(breaker.begin(now_ns), now_ns, "refused")
    return breaker


# The breaker.


def test_a_breaker_opens_at_half_of_the_latest_calls_and_not_for_few():
    breaker = Breaker()
    for number in range(CALLS_MIN - 1):
        assert not breaker.ended(breaker.begin(number), number, "no")
    assert breaker.ended(breaker.begin(9), 9, "no")
    assert not breaker.allows(9)
    breaker = Breaker()
    for number in range(100):
        breaker.ended(breaker.begin(number), number, "no" if number % 3 == 0 else "")
    assert breaker.state(100) == "closed"


def test_one_call_probes_and_each_failure_doubles_the_wait():
    breaker, now_ns = opened(Breaker()), 0
    for opening in range(12):
        wait_ms = min(WAIT_MS << opening, WAIT_MS_MAX)
        assert not breaker.allows(now_ns + wait_ms * MS - 1)
        now_ns += wait_ms * MS
        assert breaker.allows(now_ns)
        probe = breaker.begin(now_ns)
        assert not breaker.allows(now_ns)
        breaker.ended(probe, now_ns, "still no")
    now_ns += WAIT_MS_MAX * MS
    breaker.ended(breaker.begin(now_ns), now_ns)
    assert (breaker.state(now_ns), breaker.reason) == ("closed", "")


def test_old_failures_and_answers_from_before_do_not_count():
    breaker = Breaker()
    for _ in range(CALLS_MIN - 1):
        breaker.ended(breaker.begin(0), 0, "no")
    assert not breaker.ended(breaker.begin(0), 20_000 * MS, "no")
    breaker = Breaker()
    early = breaker.begin(0)
    opened(breaker)
    breaker.ended(early, 1)
    assert breaker.state(1) == "open"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "answer", "failure", "cancel", "pause", "wait"]),
        st.integers(0, 40_000),
    ),
    max_size=200,
)


@given(STEPS)
def test_a_breaker_never_lets_two_probe_and_never_stays_shut(steps):
    breaker, now_ns, running = Breaker(), 0, []
    for what, number in steps:
        if what == "wait":
            now_ns += number * MS
        elif what == "begin":
            if breaker.allows(now_ns):
                is_probe = breaker.state(now_ns) == "half-open"
                running.append(breaker.begin(now_ns))
                assert not (is_probe and breaker.allows(now_ns))
        elif running:
            ticket = running.pop(number % len(running))
            if what == "cancel":
                breaker.cancelled(ticket)
            else:
                retry_ms = number if what == "pause" else 0
                failure = "" if what == "answer" else "no"
                assert not (breaker.ended(ticket, now_ns, failure, retry_ms) and not failure)
        assert breaker.allows_at_ns() <= now_ns + WAIT_MS_MAX * MS
    for ticket in running:
        breaker.cancelled(ticket)
    now_ns += WAIT_MS_MAX * MS
    assert breaker.allows(now_ns)
    breaker.ended(breaker.begin(now_ns), now_ns)
    assert breaker.state(now_ns) == "closed"


# Hedging.


def test_the_second_replica_is_asked_after_the_95th_percentile():
    hedging = Hedging()
    for number in range(ANSWERS_MIN - 1):
        hedging.learn(number)
        assert math.isinf(hedging.after_ms)
    for number in range(1, 101):
        hedging.learn(number)
    for _ in range(100):
        hedging.learn(5.0)
    assert hedging.after_ms == 90.0
    for _ in range(200):
        hedging.learn(5.0)
    assert (hedging.after_ms, hedging.typical_ms) == (5.0, 5.0)


@given(st.floats(0, 0.5), st.lists(st.booleans(), max_size=500))
def test_second_calls_stay_within_their_share(share, wanted):
    hedging, taken = Hedging(share), 0
    for number, is_wanted in enumerate(wanted, 1):
        hedging.called()
        taken += is_wanted and hedging.take()
        assert taken <= share * number + 1e-6
    assert sum(hedging.take() for _ in range(100)) <= BURST


# The codecs.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["predictions", "outputs", "name", "shape", "data", "datatype", "model_version",
             "version", "versions", "inputs", "model_version_status", "state"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip
PROTOCOLS = ["json", "oip", "mlflow", "tfserving"]


@given(st.sampled_from(PROTOCOLS), JSON | st.binary(max_size=20), st.integers(1, 3))
def test_whatever_a_server_says_is_outcomes_or_a_bad_answer(protocol, value, count):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with contextlib.suppress(BadAnswer):
        assert isinstance(codec(protocol).learn(body), str)
    with contextlib.suppress(BadAnswer):
        found = codec(protocol, result_key="score").read(body, count)
        assert len(found.outcomes) == count
        assert all(isinstance(one, (bytes, ModelError)) for one in found.outcomes)


@given(st.sampled_from(PROTOCOLS), st.lists(JSON, min_size=1, max_size=4))
def test_whatever_the_rows_are_they_are_sent_as_json_or_refused(protocol, rows):
    texts = [json.dumps(row).encode() for row in rows]
    with contextlib.suppress(BadRows):
        json.loads(codec(protocol, dataframe="split").body(texts))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=5))
def test_tensors_come_back_as_they_were_sent(rows):
    oip = codec("oip", columns=["a", "b"])
    inputs = [{"name": "in", "datatype": "FP64", "shape": [-1, 2]}]
    oip.learn(json.dumps({"inputs": inputs}).encode())
    body = oip.body([json.dumps({"b": b, "a": a}).encode() for a, b in rows])
    (tensor,) = json.loads(body)["inputs"]
    assert (tensor["name"], tensor["shape"]) == ("in", [len(rows), 2])
    answer = json.dumps({"outputs": [tensor]}).encode()
    assert [json.loads(one) for one in oip.read(answer, len(rows)).outcomes] == rows


def test_named_tensors_and_several_outputs():
    oip = codec("oip")
    inputs = [
        {"name": "a", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "s", "datatype": "BYTES", "shape": [-1]},
    ]
    assert oip.learn(json.dumps({"inputs": inputs, "versions": ["4"]}).encode()) == "4"
    body = json.loads(oip.body([b'{"a":1,"s":"x"}', b'{"a":2,"s":"y"}']))
    assert body["inputs"] == [
        {"name": "a", "datatype": "INT64", "shape": [2, 1], "data": [1, 2]},
        {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]},
    ]
    outputs = [
        {"name": "p", "datatype": "FP64", "shape": [2, 2], "data": [[0.1, 0.9], [0.8, 0.2]]},
        {"name": "l", "datatype": "BYTES", "shape": [2, 1], "data": ["n", "y"]},
    ]
    found = oip.read(json.dumps({"outputs": outputs, "model_version": "5"}).encode(), 2)
    assert found.outcomes == [b'{"p":[0.1,0.9],"l":"n"}', b'{"p":[0.8,0.2],"l":"y"}']
    assert found.version == "5"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([b'{"a":1}'], "the data has no 's'"),
        ([b'{"a":[1],"s":"x"}'], "'a' holds objects or lists"),
        ([b'{"a":1,"s":"x"}', b"[1]"], "neither an object"),
        ([b"[1,2]", b"[1]"], "a row has 2 columns"),
        ([b"nonsense"], "not JSON"),
    ],
)
def test_rows_that_do_not_fit_the_tensors(rows, says):
    oip = codec("oip")
    inputs = [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in "as"]
    oip.learn(json.dumps({"inputs": inputs}).encode())
    with pytest.raises(BadRows, match=says):
        oip.body(rows)


def test_one_tensor_of_several_columns_needs_their_order():
    oip = codec("oip")
    inputs = [{"name": "in", "datatype": "FP64", "shape": [-1, 2]}]
    oip.learn(json.dumps({"inputs": inputs}).encode())
    with pytest.raises(BadRows, match=r"say in which order, remote.columns"):
        oip.body([b'{"a":1,"b":2}'])


def test_data_frames():
    rows = [b'{"a":1,"b":2}', b'{"b":3}']
    assert codec("mlflow").body(rows) == b'{"dataframe_records":[{"a":1,"b":2},{"b":3}]}'
    frame = json.loads(codec("mlflow", dataframe="split").body(rows))["dataframe_split"]
    assert frame == {"columns": ["a", "b"], "data": [[1, 2], [None, 3]]}
    assert codec("mlflow").body([b"[1]", b"[2]"]) == b'{"inputs":[[1],[2]]}'


def test_names_of_keys_are_settings():
    own = codec(rows_key='in"put', predictions_key="out", result_key="score")
    assert json.loads(own.body([b"1", b"2"])) == {'in"put': [1, 2]}
    found = own.read(b'{"out":[0.5,{"score":1,"why":"x"},null]}', 3).outcomes
    assert found[:2] == [b'{"score":0.5}', b'{"score":1,"why":"x"}']
    assert isinstance(found[2], ModelError)


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [("3", 3_000), ("", None), ("soon", None), ("-1", None), ("9" * 30, 3_600_000), ("0", 0),
     ("0" * 12 + "7", 7_000), ("Wed, 21 Oct 2026 07:28:00 GMT", 1_000)],
)  # fmt: skip
def test_retry_after(text, wait_ms):
    assert retry_after_ms(text) == wait_ms


@given(st.integers(200, 999), st.binary(max_size=50))
def test_each_status_has_a_verdict(status, body):
    verdict = verdict_of(Response(status, {b"location": b"\xff", b"retry-after": body}, body))
    assert (verdict.kind == "answer") == (status < 300)
    assert verdict.kind == "answer" or str(status) in verdict.text
