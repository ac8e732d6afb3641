"""Check the promises of the engine one by one, without the reference."""

from __future__ import annotations

import msgspec
from histories import BASE_NS, HOST, make_request, schedules, scores, times_ns
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, Result, Score
from rdv.rendezvous.schedule import schedule_from_object

quick = settings(derandomize=True, deadline=None, max_examples=100)

PRODUCTION = schedule_from_object(
    {
        "sla_ms": 50,
        "default": {"p": 0},
        "step": [
            {"until_ms": 30, "accept": ["gbm"]},
            {"until_ms": 45, "accept": ["gbm", "logit"]},
            {"accept": ["*"]},
        ],
    },
    "production",
)
MODELS = ["gbm", "logit", "rules"]


def make_engine(**limits: int) -> Engine:
    schedules = {"production": PRODUCTION}
    return Engine(HOST, schedules, "production", MODELS, Limits(**limits))


def make_score(id_: str, model: str, **said) -> Score:
    said = said or {"result": msgspec.Raw(b'{"p":1}')}
    return Score(id=id_, model=model, version="1", time_ns=0, **said)


def ms(value: float) -> int:
    return round(value * 1e6)


@given(schedules(), st.lists(scores(ids=tuple("abcdefgh")), max_size=20), st.data())
@quick
def test_exactly_one_result_per_request(schedule, reports, data) -> None:
    """A request may come several times, and be reported on before and after."""
    engine = Engine(HOST, {"s": schedule}, "s", ["a", "b"])
    ids = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12))
    events = [make_request(id_, BASE_NS) for id_ in ids] + reports
    results: list[Result] = []
    now_ns = BASE_NS
    for event in data.draw(st.permutations(events)):
        now_ns += data.draw(st.integers(0, 10)) * 1_000_000
        results += (
            engine.request(event, now_ns)
            if isinstance(event, Request)
            else engine.score(event, now_ns)
        )
    results += engine.tick(now_ns + ms(100))
    assert sorted(result.id for result in results) == sorted(set(ids))


@given(
    st.integers(0, 29_999),
    st.lists(st.tuples(times_ns, st.sampled_from(["logit", "rules", "x"])), max_size=6),
    st.lists(times_ns, max_size=6),
)
@quick
def test_a_preferred_answer_in_its_window_is_never_passed_over(at_us, others, ticks) -> None:
    engine = make_engine()
    results = engine.request(make_request("r", BASE_NS), BASE_NS)
    events = [(at_us * 1000, "gbm"), *others, *((at_ns, "") for at_ns in ticks)]
    for at_ns, model in sorted(events, key=lambda item: item[0]):
        now_ns = BASE_NS + at_ns
        results += engine.score(make_score("r", model), now_ns) if model else engine.tick(now_ns)
    (result,) = results
    assert (result.kind, result.model, result.step) == ("preferred", "gbm", 1)
    assert result.waited_ms == at_us / 1000


@given(st.permutations(MODELS), st.lists(st.integers(0, 200), min_size=3, max_size=3), st.data())
@quick
def test_refusal_by_all_ends_the_wait(models, gaps, data) -> None:
    """The answer comes at the very instant at which the last model refuses, fails or dies."""
    engine = make_engine()
    engine.request(make_request("r", BASE_NS), BASE_NS)
    now_ns = BASE_NS
    for place, (model, gap) in enumerate(zip(models, gaps, strict=True)):
        now_ns += gap * 50_000
        how = data.draw(st.sampled_from(["behind", "expired", "not sampled", "error", "down"]))
        if how == "down":
            results = engine.model_down(model, now_ns)
        elif how == "error":
            results = engine.score(make_score("r", model, error="boom"), now_ns)
        else:
            results = engine.score(make_score("r", model, refusal=how), now_ns)
        assert bool(results) == (place == 2)
    assert results[0].kind == "default"
    assert results[0].waited_ms == (now_ns - BASE_NS) / 1e6


junk_text = st.text(max_size=5) | st.sampled_from(["production", "inline", ""])
junk_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | junk_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(junk_text, inner, max_size=3),
    max_leaves=6,
)
junk_schedules = st.fixed_dictionaries(
    {},
    optional={
        "sla_ms": st.integers(-1, 100) | junk_json,
        "default": junk_json,
        "step": st.lists(st.fixed_dictionaries({"accept": junk_json | st.just(["gbm"])}))
        | junk_json,
        "x": junk_json,
    },
)


@given(st.data())
@quick
def test_nothing_raises_whatever_the_messages_say(data) -> None:
    """Unknown and malformed messages are counted and answered, never fatal."""
    engine = make_engine(open_mailboxes_max=2, early_scores_max=2, reports_max=2)
    asked = data.draw(
        st.none() | junk_text | junk_schedules | st.dictionaries(junk_text, junk_json)
    )
    request = make_request(
        "r",
        data.draw(st.integers(0, 2**63 - 1)),
        schedule=asked,
        deadline_ms=data.draw(st.none() | st.floats()),
    )
    results = engine.request(request, BASE_NS)
    for raw in (b"1e999", b'"\\ud800"', b"[" * 300 + b"]" * 300, b"null"):
        results += engine.score(make_score("r", str(raw)[:6], result=msgspec.Raw(raw)), BASE_NS)
    results += engine.tick(BASE_NS + ms(engine.limits.wait_ms_max))
    assert len(results) == 1


def test_results_that_cannot_be_read_cannot_be_combined() -> None:
    schedule = schedule_from_object(
        {"sla_ms": 9, "default": 0, "step": [{"accept": ["*"], "need": 2, "combine": "mean"}]}, "s"
    )
    engine = Engine(HOST, {"s": schedule}, "s", ["a", "b"])
    engine.request(make_request("r", BASE_NS), BASE_NS)
    engine.score(make_score("r", "a", result=msgspec.Raw(b"1e999")), BASE_NS)
    (result,) = engine.score(make_score("r", "b"), BASE_NS)
    assert (result.kind, result.model, bytes(result.result)) == ("fallback", "a", b"1e999")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(0, 3)), max_size=80))
@quick
def test_nothing_grows_beyond_its_limit(events) -> None:
    engine = make_engine(
        open_mailboxes_max=5,
        early_scores_max=6,
        answered_ids_max=8,
        early_ms_max=20,
        answered_ms_max=20,
        reports_max=2,
        inline_schedules_max=3,
    )
    now_ns = BASE_NS
    for what, number, gap in events:
        now_ns += gap * 1_000_000
        if what <= 1:
            inline = {"sla_ms": 10 + number, "step": [{"accept": ["gbm"]}]} if what else None
            engine.request(make_request(f"r{number}", now_ns, schedule=inline), now_ns)
        elif what <= 4:
            engine.score(make_score(f"r{number}", f"m{what}", error="no"), now_ns)
        else:
            engine.tick(now_ns)
        assert engine.open_count <= 5
        assert engine.early_count <= 6
        assert len(engine._answered) <= 8
        assert len(engine._plans._inline) <= 3
        assert all(len(box.arrived) <= 2 for box in engine._open.values())


def test_the_agenda_does_not_keep_the_answered() -> None:
    """With a long SLA and a fast champion, answered mailboxes must not pile up until the SLA."""
    engine = make_engine()
    for number in range(10_000):
        engine.request(make_request(f"r{number}", BASE_NS), BASE_NS)
        engine.score(make_score(f"r{number}", "gbm"), BASE_NS)
    assert len(engine._due_queue) <= 2_001
    assert engine.open_count == 0
    assert engine.next_deadline() is None
    assert len(engine._due_queue) == engine._due_queue._stale == 0


def test_many_open_mailboxes_are_ordinary() -> None:
    engine = make_engine()
    count = 20_000
    for number in range(count):
        now_ns = BASE_NS + number * 1_000
        assert engine.request(make_request(f"r{number}", now_ns), now_ns) == []
    assert engine.open_count == count
    assert engine.next_deadline() == BASE_NS + ms(30)
    assert engine.tick(BASE_NS + ms(49.9)) == []
    assert len(engine.tick(BASE_NS + ms(50))) == 1
    assert len(engine.tick(BASE_NS + ms(50) + count * 1_000)) == count - 1


def test_live_schedules_must_be_known() -> None:
    import pytest

    from rdv.rendezvous.limits import UnknownSchedule

    engine = make_engine()
    with pytest.raises(UnknownSchedule, match="no schedule 'x'; there are: production"):
        engine.schedules_changed({"production": PRODUCTION}, "x")
    engine.request(make_request("r", BASE_NS), BASE_NS)
    (result,) = engine.score(make_score("r", "gbm"), BASE_NS)
    assert result.schedule == PRODUCTION.label


def test_malformed_are_counted() -> None:
    engine = make_engine()
    engine.count_malformed()
    engine.count_malformed(2)
    assert engine.counters.malformed == 3


def test_limits_are_positive() -> None:
    import pytest

    with pytest.raises(ValueError, match="early_ms_max"):
        Limits(early_ms_max=0)


def test_the_return_address_and_the_version_come_back() -> None:
    engine = make_engine()
    request = make_request("r", BASE_NS, cohort="b")
    engine.request(request, BASE_NS)
    (result,) = engine.score(make_score("r", "gbm"), BASE_NS + ms(1))
    assert (result.reply_to, result.cohort, result.version) == ("p", "b", "1")
    assert result.answered_by == "server"
