"""Check what the reason of a default says about the models that the schedule accepts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Request, Score
from rdv.rendezvous.reasons import DETAIL_CHARACTERS_MAX, shortened
from rdv.rendezvous.schedule import schedule_from_object

MS = 1_000_000


def default_reason(accept, live=(), dead=(), errors=()):
    """Return the reason of the default for one request, at its SLA."""
    steps = [{"accept": names} for names in accept[:-1]]
    for number, step in enumerate(steps, 1):
        step["until_ms"] = 10 * number
    steps.append({"accept": accept[-1]})
    schedule = schedule_from_object({"sla_ms": 50, "default": 0, "step": steps})
    engine = Engine("here", {"s": schedule}, "s", live)
    for name in dead:
        engine.model_down(name, 0)
    engine.request(Request("r", 0, "here", 0, "p", msgspec.Raw(b"1")), 0)
    for name, text in errors:
        engine.score(Score("r", name, "1", 0, error=text), 1 * MS)
    (result,) = engine.tick(50 * MS)
    assert result.kind == "default"
    return result.reason


def test_named_models_come_first_by_rank():
    reason = default_reason(
        [["zebra"], ["zebra", "mlp"], ["*"]], live=["archive", "mlp", "zebra"], dead=["aged"]
    )
    assert reason == (
        "no accepted answer within 50 ms: zebra has not answered, mlp has not answered, "
        "archive has not answered"
    )


def test_reasons_mention_no_model_that_no_step_accepts():
    reason = default_reason([["gbm"]], live=["archive", "gbm"], dead=["aged"])
    assert reason == "no accepted answer within 50 ms: gbm has not answered"


def test_of_the_others_those_that_have_reported_come_first():
    reason = default_reason([["*"]], live=["a", "b"], dead=["aged"], errors=[("z", "no")])
    assert reason.endswith(": z error (no), a has not answered, b has not answered")


@given(
    asked=st.sets(st.sampled_from("abcd"), min_size=1),
    answering=st.sampled_from(["b", "c", "d", None]),
    error=st.booleans(),
)
def test_a_reason_is_about_the_models_that_the_request_asked_for(asked, answering, error):
    steps = [{"until_ms": 10, "accept": ["a", "b"]}, {"accept": ["c", "d"]}]
    schedule = schedule_from_object({"sla_ms": 50, "default": 0, "step": steps})
    engine = Engine("here", {"s": schedule}, "s", "abcd")
    not_asked = sorted({*"abcd"} - asked)
    request = Request(
        "r", 0, "here", 0, "p", msgspec.Raw(b"1"), not_asked=not_asked, names_models=True
    )
    first = min(asked)
    results = [*engine.request(request, 0)]
    if error and first != answering:
        results += engine.score(Score("r", first, "1", 0, error="no"), 1 * MS)
    if answering in asked:
        results += engine.score(Score("r", answering, "1", 0, result=msgspec.Raw(b"1")), 2 * MS)
    results += [*engine.tick(20 * MS), *engine.tick(50 * MS)]
    (result,) = results
    if result.kind == "preferred":
        assert (result.model, result.reason) == (first, "")
    else:
        assert "sampled" not in result.reason
        assert first in [word.strip(",") for word in result.reason.split()]
        assert not {word.strip(",") for word in result.reason.split()} & {*not_asked}


def test_a_step_that_was_missed_is_the_first_one_that_counts():
    steps = [
        {"until_ms": 10, "accept": ["a"]},
        {"until_ms": 20, "accept": ["b", "c"], "need": 2, "combine": "vote"},
        {"accept": ["c", "d"], "need": 2, "combine": "vote"},
    ]
    schedule = schedule_from_object({"sla_ms": 50, "default": 0, "step": steps})
    engine = Engine("here", {"s": schedule}, "s", "abcd")
    request = Request("r", 0, "here", 0, "p", msgspec.Raw(b"1"), not_asked=["a"], names_models=True)
    engine.request(request, 0)
    for name in "cd":
        engine.score(Score("r", name, "1", 0, result=msgspec.Raw(b"1")), 2 * MS)
    (result,) = engine.tick(20 * MS)
    assert (result.kind, result.code) == ("fallback", "step_1_missed")
    assert result.reason == "step 2 did not get the answers that it needs"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ValueError: no such luck", "ValueError: no such luck"),
        ("\n  first\nTraceback (most recent call last):\n  second", "first"),
        ("x" * 500, "x" * (DETAIL_CHARACTERS_MAX - 1) + "…"),
        ("  \n ", ""),
    ],
)
def test_a_models_own_words_are_one_short_line(text, shown):
    assert shortened(text) == shown


@given(st.text())
def test_shortened_is_bounded(text):
    short = shortened(text)
    assert len(short) <= DETAIL_CHARACTERS_MAX
    assert len(short.splitlines()) <= 1


def test_an_exception_is_shortened_in_the_reason():
    reason = default_reason([["gbm", "mlp"]], errors=[("gbm", "KeyError: " + "k" * 1000 + "\nend")])
    assert "gbm error (KeyError: kkk" in reason
    assert len(reason) < 250
