"""Check that the reason of restarts is said in words."""

from __future__ import annotations

from rdv.decision.events import Event
from rdv.decision.restarts import NAMES_MAX, WINDOW_NS, Restarts

S = 10**9


def ended(at_s, name="gbm-0", line="KeyError: 'amount'", **more):
    fields = {"retry_ms": 100.0, "exit_code": 1, "model": "gbm", **more}
    return Event(kind="process_ended", about=name, time_ns=int(at_s * S), last_line=line, **fields)


def said(*events, now_s=100.0):
    restarts = Restarts()
    for event in events:
        restarts.add(event)
    return restarts.sentences(int(now_s * S))


def test_a_process_that_keeps_ending():
    every_two = [ended(90 + 2 * n) for n in range(5)]
    assert said(*every_two) == ["gbm-0 restarts every 2 s: KeyError: 'amount'"]
    quick = [ended(99 + n / 2) for n in range(3)]
    assert said(*quick) == ["gbm-0 restarts every 0.5 s: KeyError: 'amount'"]


def test_one_end_is_named_until_it_is_old():
    killed = ended(90, line="", exit_code=None, signal="SIGKILL")
    back = Event(kind="process_back", about="gbm-0", time_ns=91 * S)
    assert said(killed) == ["gbm-0 ended 10 s ago and is started again: SIGKILL"]
    assert said(killed, back) == ["gbm-0 ended 10 s ago and runs again: SIGKILL"]
    assert said(killed, back, now_s=100 + WINDOW_NS / S) == []


def test_a_model_that_waits_for_an_edit_is_named_until_it_is_edited():
    waits = Event(
        kind="model_not_loaded", about="gbm-0", model="gbm", time_ns=S, last_line="no module x"
    )
    text = "gbm-0 cannot be loaded, and waits for an edit: no module x"
    assert said(waits, now_s=10_000) == [text]
    for kind in ("model_removed", "model_paused", "model_version_changed"):
        assert said(waits, Event(kind=kind, about="gbm")) == []
    assert said(waits, Event(kind="serve_started")) == []
    assert said(waits, Event(kind="process_back", about="gbm-0"), now_s=10_000) == []


def test_its_memory_is_bounded():
    restarts = Restarts()
    for number in range(NAMES_MAX + 50):
        restarts.add(ended(90, name=f"gbm-{number}"))
    found = restarts.sentences(100 * S)
    assert len(found) == NAMES_MAX
    assert found[0].startswith(f"gbm-{NAMES_MAX + 49} ")
