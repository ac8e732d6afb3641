"""Check the spans of a decision, and which decisions are exported."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_log import MadeLog, MadeRequest, make_score, varied
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import extract_of
from rdv.analysis.explain.result import ExplainedStep, Report
from rdv.decision.traces import Traces
from rdv.rendezvous.messages import Request, Result
from rdv.trace_context import TraceContext
from rdv.traces.otlp import encode
from rdv.traces.sampling import REASONS, fraction, reasons_of, sample
from rdv.traces.spans import Event, Recorded, Span, spans_of

ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MS = 1_000_000
OUTCOMES = ["result", "behind", "expired", "error", "bad input", "unavailable", "not sampled", None]

times = st.none() | st.floats(-1000, 1e7, allow_nan=False)
reports = st.builds(
    Report,
    model=st.sampled_from(["a", "b", "c"]),
    arrived_ms=times,
    is_exact=st.booleans(),
    is_late=st.booleans(),
    is_chosen=st.booleans(),
    outcome=st.sampled_from(OUTCOMES),
    detail=st.text(max_size=20),
    queue_ms=times,
    evaluation_ms=times,
    batch_size=st.none() | st.integers(1, 500),
)
steps = st.builds(
    ExplainedStep,
    number=st.integers(1, 9),
    begin_ms=st.floats(0, 1e6),
    end_ms=st.floats(0, 1e6),
    accepts=st.just(("a",)),
    need=st.just("1"),
    eligible=st.just(()),
    ended=st.just("its time was over"),
)


def request(**more):
    values = {
        "id": ID, "time_ns": 10**18, "host": "h", "monotonic_ns": 5, "reply_to": "p-8100",
        "data": msgspec.Raw(b"{}"), "windows_ms": {"a": 10.0, "z": 20.0}, **more,
    }  # fmt: skip
    return Request(**values)


def result(waited_ms=12.5, **more):
    values = {
        "id": ID, "reply_to": "p-8100", "kind": "preferred", "result": msgspec.Raw(b"1"),
        "schedule": "production@123", "waited_ms": waited_ms, "model": "a", "step": 1, **more,
    }  # fmt: skip
    return Result(**values)


@given(
    st.lists(reports, max_size=4, unique_by=lambda one: one.model),
    st.lists(steps, max_size=3),
    st.none() | st.floats(0, 1e6),
    st.sampled_from(["", PARENT]),
)
def test_spans_nest(found, explained, waited_ms, traceparent):
    answer = None if waited_ms is None else result(waited_ms)
    one = Recorded("fraud", request(traceparent=traceparent), answer, found, explained)
    root, *models = spans_of(one)
    assert root.start_ns == 10**18
    assert len({span.span_id for span in (root, *models)}) == 1 + len(models)
    assert {span.trace_id for span in (root, *models)} == {PARENT[3:35] if traceparent else ID}
    assert root.parent_id == (PARENT[36:52] if traceparent else "")
    assert {span.parent_id for span in models} <= {root.span_id}
    for span in (root, *models):
        assert root.start_ns <= span.start_ns <= span.end_ns
        assert all(span.start_ns <= event.time_ns <= span.end_ns for event in span.events)
    reported = {report.model for report in found if report.outcome not in (None, "not sampled")}
    assert {span.attributes["rdv.model"] for span in models} == reported
    assert spans_of(one) == [root, *models]


def test_the_root():
    one = Recorded(
        "fraud",
        request(traceparent=PARENT, tracestate="a=1", deadline_ms=50.0, x_request_id="mine"),
        result(12.5, kind="fallback", code="champion_late", reason="a has not answered", step=2),
        [Report("a", 30.0, False, True, False, "result")],
        [ExplainedStep(1, 0.0, 10.0, ("a",), "1", (), "its time was over"),
         ExplainedStep(2, 10.0, 12.5, ("b", "*"), "1", ("b",), "b has answered")],
        ("fallbacks",),
    )  # fmt: skip
    root = spans_of(one)[0]
    said = {key: value for key, value in root.attributes.items() if value is not None}
    assert said == {
        "http.request.method": "POST", "http.route": "/v1/decide", "url.path": "/v1/decide",
        "http.response.status_code": 200, "rdv.decision": "fraud",
        "rdv.id": ID, "rdv.proxy": "p-8100", "rdv.kind": "fallback", "rdv.model": "a",
        "rdv.schedule": "production@123", "rdv.step": 2, "rdv.waited_ms": 12.5,
        "rdv.deadline_ms": 50.0, "rdv.code": "champion_late", "rdv.answered_by": "server",
        "rdv.reason": "a has not answered", "rdv.x_request_id": "mine",
        "rdv.silent_models": ("z",), "rdv.exported_as": ("fallbacks",),
    }  # fmt: skip
    assert (root.end_ns - root.start_ns, root.tracestate, root.error) == (12_500_000, "a=1", None)
    at = [(event.name, (event.time_ns - root.start_ns) / MS) for event in root.events]
    assert at == [("step 1", 0.0), ("step 2", 10.0), ("answered", 12.5)]
    assert root.events[1].attributes["rdv.step.accept"] == ("b", "*")


def test_models_late_failing_and_in_time():
    found = [
        Report("a", 10.0, True, False, True, "result", "7", queue_ms=1.0, evaluation_ms=6.0,
               batch_size=3),
        Report("b", 20.0, False, True, False, "error", "1", detail="KeyError: 'amount'",
               code="predict_raised", evaluation_ms=2.0),
        Report("c", 1.0, True, False, False, "behind", "1", detail="12 ms behind", code="behind"),
    ]  # fmt: skip
    remote = frozenset("a")
    root, a, b, c = spans_of(Recorded("fraud", request(), result(10.2), found, remote=remote))
    assert [(s.name, s.kind) for s in (a, b, c)] == [
        ("model a", "client"), ("model b", "internal"), ("model c", "internal"),
    ]  # fmt: skip
    begin = root.start_ns
    assert (a.start_ns - begin, a.end_ns - begin) == (3 * MS, 10 * MS)
    assert [(e.name, e.time_ns - begin) for e in a.events] == [("evaluation", 4 * MS)]
    assert (a.attributes["rdv.queue_ms"], a.attributes["rdv.batch_size"]) == (1.0, 3)
    assert b.end_ns > root.end_ns
    assert b.error == "KeyError: 'amount'"
    event = b.events[-1]
    assert (event.name, event.attributes["exception.type"]) == ("exception", "KeyError")
    assert [s.attributes["error.type"] for s in (a, b, c)] == [None, "KeyError", None]
    assert (c.error, c.attributes["rdv.detail"]) == (None, "12 ms behind")


def test_the_enricher_has_a_span():
    one = Recorded(
        "fraud", request(enriched_ms=2.5), result(12.5), [Report("a", 12.0, *[False] * 3, "result")]
    )
    root, enricher, model = spans_of(one)
    assert (enricher.name, model.name) == ("enrich", "model a")
    assert (enricher.start_ns, enricher.end_ns) == (root.start_ns, root.start_ns + 2_500_000)
    assert enricher.parent_id == root.span_id
    assert len({span.span_id for span in (root, enricher, model)}) == 3


def test_a_request_without_an_answer_is_an_error():
    root = spans_of(Recorded("fraud", request(), None))[0]
    assert root.error
    assert root.attributes["error.type"] == "no_answer"
    assert root.end_ns == root.start_ns


def test_texts_that_are_not_utf8_can_be_sent():
    bad = "\ud800"
    event = Event(bad, 1, {"a": bad, "b": (bad,)})
    span = Span(ID, "1" * 16, "", bad, "internal", 1, 2, {"a": bad}, (event,), bad, bad)
    sent = ExportTraceServiceRequest.FromString(encode([span], {bad: bad}))
    (found,) = sent.resource_spans[0].scope_spans[0].spans
    assert (found.name, found.status.message, found.trace_state) == ("?", "?", "?")


# Sampling.


def made(*requests, reading=None):
    """Return the reasons of each made request, by its number."""
    with tempfile.TemporaryDirectory() as directory:
        MadeLog(list(requests)).write(Path(directory))
        extract = None if reading is None else extract_of(reading)
        joined, _ = read_joined(directory, extract=extract)
        flags = reasons_of(joined, reading)
        return [
            {name for name, column in flags.items() if column[row]} for row in range(len(joined))
        ]


def answers(number, **reports):
    one = MadeRequest(number, number * 100.0, [])
    for model, (at_ms, said) in reports.items():
        score = make_score(one.id, model, **said)
        one.reports.append((at_ms, score))
    return one


def says(action, score=0.5):
    return {"result": msgspec.Raw(b'{"action":"%b","score":%f}' % (action.encode(), score))}


CLASS = Reading("class", "action")


def test_why_decisions_are_exported():
    found = made(
        answers(0, gbm=(5, says("pass")), rules=(6, says("pass"))),
        answers(1, rules=(6, says("pass"))),
        answers(2),
        answers(3, gbm=(5, says("pass")), rules=(70, says("pass"))),
        answers(4, gbm=(5, says("pass")), rules=(6, {"error": "boom"})),
        answers(5, gbm=(5, says("pass")), rules=(6, says("block"))),
        answers(6, gbm=(5, says("pass")), rules=(6, {"refusal": "unavailable"})),
        answers(7, gbm=(5, says("pass")), rules=(6, {"refusal": "behind"})),
        reading=CLASS,
    )
    assert found == [
        set(), {"fallbacks"}, {"defaults"}, {"late"}, {"errors"}, {"disagreements"}, {"errors"},
        set(),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reading", "is_one"),
    [
        (Reading("probability", "score", threshold=0.5), True),
        (Reading("probability", "score", threshold=0.1), False),
        (Reading("number", "score"), False),
        (CLASS, False),
        (None, False),
    ],
)
def test_what_a_disagreement_is(reading, is_one):
    one = answers(0, gbm=(5, says("pass", 0.4)), rules=(6, says("pass", 0.6)))
    assert made(one, reading=reading) == [{"disagreements"} if is_one else set()]


def test_the_made_log_has_every_reason(tmp_path):
    varied(300).write(tmp_path)
    joined, _ = read_joined(str(tmp_path), extract=extract_of(CLASS))
    flags = reasons_of(joined, CLASS)
    assert set(flags) == set(REASONS)
    assert all(column.any() and not column.all() for column in flags.values())


def test_what_is_not_special_is_drawn_by_its_trace():
    settings = Traces(others=0.25)
    ids = [f"{number:032x}" for number in range(1, 4001)]
    first = [bool(sample((), id_, None, settings)) for id_ in ids]
    assert first == [bool(sample((), id_, None, settings)) for id_ in ids]
    assert 850 < sum(first) < 1150
    fewer = Traces(others=0.05)
    assert all(sample((), id_, None, settings) for id_ in ids if sample((), id_, None, fewer))
    assert all(0 <= fraction(id_) < 1 for id_ in ids)


def caller(*, is_sampled):
    return TraceContext(ID, "1" * 16, is_sampled)


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_can_be_switched_off(name):
    assert sample((name,), ID, None, Traces()) == (name,)
    off = Traces(**{name: 0.0, "others": 1.0})
    assert sample((name,), ID, None, off) == ()


def test_the_callers_flag():
    nothing = Traces(others=0.0)
    assert sample((), ID, caller(is_sampled=True), nothing) == ("sampled",)
    assert sample((), ID, caller(is_sampled=True), Traces(sampled=0.0, others=0.0)) == ()
    assert sample((), ID, caller(is_sampled=False), Traces(others=1.0)) == ()
    assert sample(("errors",), ID, caller(is_sampled=False), nothing) == ("errors",)
    refused = Traces(unsampled_callers=False)
    assert sample(("errors",), ID, caller(is_sampled=False), refused) == ()
    assert sample(("errors",), ID, caller(is_sampled=True), refused) == ("errors", "sampled")
    assert sample(("errors",), ID, None, refused) == ("errors",)
