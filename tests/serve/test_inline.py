"""Check the limits of inline schedules: their size, their SLA and their number."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import SCHEDULE, Client, write_decision
from serving import serving

from rdv.cache import BoundedCache
from rdv.decision import Decision
from rdv.decision.schedules import longest_wait_ms
from rdv.decision.sections import Http
from rdv.http import Failure
from rdv.rendezvous.deadlines import GRACE_NS
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, decode_request, encode_request
from rdv.rendezvous.plan import PlanStore
from rdv.rendezvous.schedule import SLA_MS_MAX, schedule_from_object
from rdv.serve.proxy.answers import backstop_result
from rdv.serve.proxy.intake import (
    INLINE_CACHE_BYTES_MAX,
    INLINE_MAX,
    ChosenSchedule,
    InlineRules,
    ScheduleChoice,
    read_body,
    read_models,
)
from rdv.serve.proxy.main import http_limits

LIVE = schedule_from_object({"sla_ms": 50, "default": 1, "step": [{"accept": ["a"]}]}, "live")
RULES = InlineRules(bytes_max=16_384, sla_multiple=10)


def choice(rules=RULES):
    return ScheduleChoice({"live": LIVE}, "live", rules)


def inline(sla_ms=50, default=0, **changes):
    return {"sla_ms": sla_ms, "default": default, "step": [{"accept": ["fast"]}], **changes}


def asked(wanted, **more):
    """Return what the proxy reads from a body with this schedule: a choice or a failure."""
    body = read_body(orjson.dumps({"data": 1, "schedule": wanted, **more}))
    return choice().read(body.schedule)


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        (inline(default="x" * 20_000), 422, "inline_schedule_too_large"),
        (inline(default=["x"] * 300_000), 422, "inline_schedule_too_large"),
        (inline(step=[{"accept": ["a"]}] * 800), 422, "invalid_schedule"),
        (inline(sla_ms=501), 422, "inline_sla_too_long"),
        (inline(sla_ms=60_001), 422, "invalid_schedule"),
        (inline(sla_ms=3_600_000), 422, "invalid_schedule"),
        (inline(default=1e300), None, ""),
        (inline(sla_ms=500), None, ""),
        ("x" * 200, 422, "unknown_schedule"),
        ("x" * 1_000_000, 400, "invalid_request"),
        ([], 400, "invalid_request"),
        (5, 400, "invalid_request"),
        (True, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_by_the_proxy(wanted, status, code):
    found = asked(wanted)
    if status is None:
        assert isinstance(found, ChosenSchedule)
    else:
        assert (found.status, found.code) == (status, code)
        assert len(found.message) < 500


@pytest.mark.parametrize(
    ("default", "code"),
    [
        (b"1180591620717411303424", "number_out_of_range"),
        (b"[" * 300 + b"]" * 300, "nested_too_deeply"),
    ],
)
def test_what_is_no_json_for_others_is_no_schedule(default, code):
    raw = b'{"data":1,"schedule":{"sla_ms":50,"default":%s,"step":[{"accept":["a"]}]}}' % default
    found = read_body(raw)
    assert (found.status, found.code) == (422, code)


def test_both_numbers_are_named():
    found = asked(inline(sla_ms=501))
    assert "501 ms" in found.message
    assert "500 ms" in found.message
    assert found.fields == {"sla_ms": 501, "sla_ms_max": 500}


def test_a_long_list_of_models_is_not_even_parsed():
    for models in (["a"] * 250_000, ["a" * 900_000], ["a"] * 257, ["a" * 129], [1], {}):
        body = read_body(orjson.dumps({"data": 1, "models": models}))
        assert read_models(body.models).code == "invalid_request"
    body = read_body(orjson.dumps({"data": 1, "models": ["a"] * 256}))
    assert read_models(body.models) == ["a"] * 256


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


@settings(max_examples=150)
@given(json, st.integers(1, 600), st.sampled_from(["fast", "*", "", "no name"]))
def test_a_server_accepts_whatever_a_proxy_has_accepted(default, sla_ms, name):
    wanted = inline(sla_ms, default, step=[{"accept": [name]}])
    try:
        raw = msgspec.json.encode({"data": 1, "schedule": wanted})
    except msgspec.MsgspecError:
        return
    body = read_body(raw)
    found = choice().read(body.schedule) if not isinstance(body, Failure) else body
    if isinstance(found, Failure):
        return
    line = encode_request(Request("i", 1, "h", 1, "p", msgspec.Raw(b"1"), schedule=found.asked))
    book = PlanStore({"live": LIVE}, "live", Limits())
    plan, reason = book.plan_for(decode_request(line))
    assert reason is None
    assert plan.label == found.schedule.label
    own = backstop_result(decode_request(line), found.schedule, 1.0, "", "")
    assert bytes(own.result) == bytes(plan.default)


def test_compiled_schedules_are_bounded_in_bytes_in_proxy_and_server():
    proxy = choice(replace(RULES, bytes_max=65_536))
    limits = Limits(inline_cache_bytes_max=200_000)
    book = PlanStore({"live": LIVE}, "live", limits)
    for number in range(600):
        wanted = inline(default=[number, "x" * 10_000])
        assert isinstance(proxy.choose(wanted), ChosenSchedule)
        request = Request("i", 1, "h", 1, "p", msgspec.Raw(b"1"), schedule=wanted)
        assert book.plan_for(request)[1] is None
    assert proxy._inline.size_bytes <= INLINE_CACHE_BYTES_MAX
    assert 0 < len(proxy._inline) < INLINE_MAX
    assert book._inline.size_bytes <= 200_000


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), max_size=60))
def test_a_cache_keeps_its_bounds_and_the_newest(puts):
    cache = BoundedCache[int](5, 100)
    for number, (key, size) in enumerate(puts):
        cache.put(b"%d" % key, number, size)
        assert len(cache) <= 5
        assert cache.size_bytes <= 100
        assert cache.get(b"%d" % key) == (number if size <= 25 else None)


def test_the_http_server_is_more_patient_than_any_sla():
    limits = http_limits(Decision())
    assert limits.answer_timeout_ms * 1_000_000 > SLA_MS_MAX * 1_000_000 + GRACE_NS


def test_how_long_a_request_may_be_open(tmp_path):
    folder = tmp_path / "schedules"
    folder.mkdir()
    (folder / "production.toml").write_text(SCHEDULE)
    http = Http(inline_sla_multiple=10)
    decision = Decision(directory=str(tmp_path), http=http)
    assert longest_wait_ms(decision) == 600
    assert longest_wait_ms(decision.replace(http=Http(inline_schedules=False))) == 60
    assert longest_wait_ms(decision.replace(http=Http(inline_sla_multiple=1e6))) == SLA_MS_MAX
    (folder / "slow.toml").write_text(SCHEDULE.replace("sla_ms = 60", "sla_ms = 2000"))
    assert longest_wait_ms(decision) == 2_000


def test_inline_schedules_can_be_limited_and_switched_off_while_serving(tmp_path):
    port = write_decision(tmp_path / "fraud", http="inline_sla_multiple = 20")
    wanted = inline(sla_ms=1_200)
    toml = tmp_path / "fraud" / "rdv.toml"
    with serving(tmp_path / "fraud", port), Client(port) as client:
        assert client.post({"data": {}, "schedule": wanted})[1]["model"] == "fast"
        refused = client.post({"data": {}, "schedule": inline(sla_ms=1_201)})
        assert (refused[0], refused[1]["error"]["code"]) == (422, "inline_sla_too_long")
        edited = toml.read_text().replace("inline_sla_multiple = 20", "inline_schedules = false")
        for number in range(20_000):
            if number % 500 == 0:  # again, as the process may not watch yet
                toml.write_text(edited)
            status, answer = client.post({"data": {}, "schedule": wanted})
            if status != 200:
                break
        assert (status, answer["error"]["code"]) == (422, "inline_schedules_off")
        assert client.post({"data": {}, "schedule": "production"})[0] == 200
