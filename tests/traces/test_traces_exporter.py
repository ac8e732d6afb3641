"""Check what is exported of a log: exactly once, over outages, refusals and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from collector import attributes
from fake_clock import FakeClock
from made_log import BEGIN_NS, MadeLog, MadeRequest, make_requests, make_score, varied
from waiting import DEADLINE_S, wait_until

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS, OUTCOMES
from rdv.decision import load_decision
from rdv.live import load
from rdv.trace_context import span_id_of
from rdv.traces import exporter as module
from rdv.traces.exporter import Exporter, Saved, saved_path
from rdv.traces.spans import spans_of

NOW_NS = BEGIN_NS + 50 * 10**9
ALL = "[traces]\nothers = 1.0\n"


def write(directory: Path, log: MadeLog, endpoint: str, settings: str = ALL) -> None:
    log.write(directory)
    (directory / "rdv.toml").write_text(
        f'{settings}endpoint = "{endpoint}"\n[outcome]\ntype = "class"\nanswer = "action"\n'
        '[models.gbm]\npath = "models/gbm.py"\n'
    )
    (directory / "schedules").mkdir(exist_ok=True)


@pytest.fixture
def exporter_of():
    """Make exporters of a directory, which are stopped in the end."""
    made = []

    def make(directory, clock=None, environ=None):
        clock = clock or FakeClock(NOW_NS)
        settings = load_decision(str(directory))
        exporter = Exporter(str(directory), lambda: settings, environ or {}, clock)
        made.append(exporter)
        return exporter

    yield make
    for exporter in made:
        exporter.stop()
        exporter.run()


def drain(exporter):
    while exporter.turn():
        pass


def expected(directory):
    """Return the root's kind, model and step, and the models' outcomes, of each request."""
    joined, _ = read_joined(str(directory))
    found = {}
    for row in range(len(joined)):
        outcomes = {
            model: OUTCOMES[joined.outcome[number, row]]
            for number, model in enumerate(joined.models)
        }
        reports = {m: o for m, o in outcomes.items() if o not in (None, "not sampled")}
        root = KINDS[joined.kind[row]], joined.model.at(row), int(joined.step[row]) or None
        found[joined.id(row)] = (*root, reports)
    return found


def exported(collector):
    """Return the same of the spans that the collector has received."""
    found = {}
    spans = collector.by_id().values()
    for root in (span for span in spans if not span.parent_span_id):
        said = attributes(root)
        below = [span for span in spans if span.parent_span_id == root.span_id]
        reports = {attributes(s)["rdv.model"]: attributes(s)["rdv.outcome"] for s in below}
        assert all(span.trace_id == root.trace_id for span in below)
        assert root.span_id.hex() == span_id_of(said["rdv.id"], "")
        facts = said["rdv.kind"], said.get("rdv.model"), said.get("rdv.step")
        found[said["rdv.id"]] = (*facts, reports)
    return found


def test_everything_in_the_log_is_exported_as_it_was(tmp_path, collector, exporter_of):
    write(tmp_path, varied(300), collector.url)
    exporter = exporter_of(tmp_path, environ={"OTEL_RESOURCE_ATTRIBUTES": "team=a"})
    drain(exporter)
    assert exported(collector) == expected(tmp_path)
    assert len(collector.spans) == len(collector.by_id())
    assert (exporter.counts.decisions, exporter.counts.dropped) == (300, 0)
    assert exporter.counts.spans == len(collector.spans)
    assert all(len(call.spans) <= module.BATCH_SPANS + 3 for call in collector.calls)
    assert collector.calls[0].resource["service.name"] == load_decision(str(tmp_path)).name
    assert collector.calls[0].resource["team"] == "a"
    calls = len(collector.calls)
    drain(exporter)
    drain(exporter_of(tmp_path))
    assert len(collector.calls) == calls


def test_steps_are_events_and_late_models_end_after_the_root(tmp_path, collector, exporter_of):
    late = MadeRequest(1, 0.0, [])
    late.reports = [(40.0, make_score(late.id, "logit")), (70.0, make_score(late.id, "gbm"))]
    write(tmp_path, MadeLog([late]), collector.url)
    drain(exporter_of(tmp_path))
    root, *models = sorted(collector.spans, key=lambda span: span.parent_span_id)
    assert [event.name for event in root.events] == ["step 1", "step 2", "answered"]
    at_ms = [(event.time_unix_nano - root.start_time_unix_nano) / 1e6 for event in root.events]
    assert at_ms == [0.0, 30.0, 40.0]
    ends = {attributes(span)["rdv.model"]: span.end_time_unix_nano for span in models}
    assert ends["logit"] == root.end_time_unix_nano < ends["gbm"]
    assert attributes(root)["rdv.exported_as"] == ["fallbacks", "late"]


def test_only_what_is_special_is_exported(tmp_path, collector, exporter_of):
    requests = []
    for number in range(60):
        one = MadeRequest(number, number * 60.0, [])
        if number % 10:
            one.reports = [(5.0, make_score(one.id, "gbm"))]
        requests.append(one)
    write(tmp_path, MadeLog(requests), collector.url, "[traces]\nothers = 0.0\n")
    drain(exporter_of(tmp_path))
    assert set(exported(collector)) == {one.id for one in requests if not one.number % 10}


def again_later(call):
    call.answer(503)


def test_an_outage_loses_nothing(tmp_path, collector, exporter_of, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    write(tmp_path, varied(60), collector.url)
    exporter = exporter_of(tmp_path)
    collector.behaviour = again_later
    thread = threading.Thread(target=drain, args=(exporter,))
    thread.start()
    wait_until(lambda: len(collector.calls) > 5, "it did not try again")
    assert "503" in exporter.trouble
    assert not Path(saved_path(str(tmp_path))).exists()
    collector.behaviour = lambda call: call.accept()
    thread.join(DEADLINE_S)
    assert exporter.trouble == ""
    assert exported(collector) == expected(tmp_path)
    assert exporter.counts.spans == len(collector.by_id())


def test_what_waits_for_too_long_is_dropped_and_counted(
    tmp_path, collector, exporter_of, monkeypatch
):
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    write(tmp_path, varied(60), collector.url)
    clock = FakeClock(NOW_NS)
    exporter = exporter_of(tmp_path, clock)
    collector.behaviour = again_later
    thread = threading.Thread(target=drain, args=(exporter,))
    thread.start()
    wait_until(lambda: len(collector.calls) > 2, "it did not try")
    clock.advance(601 * 10**9)
    thread.join(DEADLINE_S)
    assert exporter.counts.spans == 0
    assert exporter.counts.dropped == len(collector.by_id()) > 60
    saved = load(saved_path(str(tmp_path)), Saved)
    assert saved.counts == exporter.counts


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_is_refused_is_dropped_and_said(tmp_path, collector, exporter_of, status):
    write(tmp_path, varied(60), collector.url)
    exporter = exporter_of(tmp_path)
    collector.behaviour = lambda call: call.answer(status)
    drain(exporter)
    assert f"answers {status}" in exporter.trouble
    assert exporter.counts.dropped == len(collector.spans)
    assert len(collector.spans) == len(collector.by_id())


def test_a_message_that_is_too_large_is_sent_in_parts(tmp_path, collector, exporter_of):
    write(tmp_path, varied(60), collector.url)
    taken = []

    def some(call):
        if len(call.spans) > 20:
            call.answer(413)
        else:
            taken.extend(call.spans)
            call.accept()

    collector.behaviour = some
    exporter = exporter_of(tmp_path)
    drain(exporter)
    assert exported(collector) == expected(tmp_path)
    assert exporter.counts.spans == len(taken) == len(collector.by_id())
    assert exporter.counts.decisions == 60


def test_a_partial_success_is_counted_and_not_sent_again(tmp_path, collector, exporter_of):
    write(tmp_path, varied(60), collector.url)
    collector.behaviour = lambda call: call.accept(3, "no room")
    exporter = exporter_of(tmp_path)
    drain(exporter)
    assert exporter.counts.rejected == 3 * len(collector.calls)
    assert "no room" in exporter.trouble
    assert len(collector.spans) == len(collector.by_id())
    assert exporter.counts.spans == len(collector.spans) - exporter.counts.rejected


def test_decisions_without_spans_that_can_be_sent_are_dropped_and_hold_up_no_other(
    tmp_path, collector, exporter_of, monkeypatch, caplog
):
    made = make_requests(60)
    unmade, unsent = made[7].id, made[20].id

    def some_spans(one):
        if one.request.id == unmade:
            raise ZeroDivisionError
        root, *models = spans_of(one)
        is_bad = one.request.id == unsent
        return [replace(root, start_ns=-1) if is_bad else root, *models]

    monkeypatch.setattr("rdv.traces.decisions.spans_of", some_spans)
    write(tmp_path, MadeLog(made), collector.url)
    exporter = exporter_of(tmp_path)
    drain(exporter)
    wanted = expected(tmp_path)
    assert exported(collector) == {i: wanted[i] for i in wanted if i not in (unmade, unsent)}
    assert exporter.counts.dropped == 2
    assert "cannot be made" in caplog.text
    assert "cannot be encoded" in caplog.text


def test_settings_that_cannot_be_used_are_said(tmp_path, collector, exporter_of):
    write(tmp_path, varied(20), collector.url)
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    exporter = exporter_of(tmp_path, environ=environ)
    assert not exporter.turn()
    assert "4318" in exporter.trouble
    environ.clear()
    drain(exporter)
    assert exporter.trouble == ""
    assert len(exported(collector)) == 20


def test_a_pause_that_was_too_long_is_left_out(tmp_path, collector, exporter_of):
    write(tmp_path, varied(60), collector.url)
    clock = FakeClock(BEGIN_NS)
    drain(exporter_of(tmp_path, clock))
    clock.move_to(NOW_NS + 3_600 * 10**9)
    drain(exporter_of(tmp_path, clock))
    assert collector.spans == []


CHILD = """
import logging, sys
logging.basicConfig(level=20)
sys.path.insert(0, sys.argv[3])
from fake_clock import FakeClock
from rdv.decision import load_decision
from rdv.traces import exporter as module
module.BATCH_SPANS = 20
module.REQUESTS_MAX = 10
exporter = module.Exporter(
    sys.argv[1], lambda: load_decision(sys.argv[1]), {}, FakeClock(int(sys.argv[2]))
)
while exporter.turn():
    pass
"""


def test_a_killed_exporter_goes_on_with_the_same_spans(tmp_path, collector):
    write(tmp_path, MadeLog(make_requests(60, gap_ms=600.0)), collector.url)
    child = None

    def kill_some(call):
        number = len(collector.calls)
        if number != 4:  # this one is killed without an answer
            call.accept()
        if number in (4, 9):
            child.send_signal(signal.SIGKILL)

    collector.behaviour = kill_some
    kit = str(Path(__file__).parents[1] / "kit")
    codes = []
    while 0 not in codes:
        assert len(codes) < 5
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(NOW_NS), kit], env=dict(os.environ)
        )
        codes.append(child.wait(DEADLINE_S))
    assert set(codes) == {0, -signal.SIGKILL}
    assert exported(collector) == expected(tmp_path)
    saved = load(saved_path(str(tmp_path)), Saved)
    assert saved.counts.decisions == 60
    assert saved.counts.spans == len(collector.by_id())
