"""Check the components while another process holds the locks of the partitions they write to."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from running import MODELS, Client, Decision, Load, held, is_default, is_preferred, write_decision

SLOW_MS = 3_000
"""The limit of an answer's time: well above the SLA of 60 ms, as the machine may be busy, and
below the 10 s that a lock would be waited for.
"""


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    directory = tmp_path_factory.mktemp("locks") / "fraud"
    decision = Decision(directory, write_decision(directory))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred")
        yield decision
    finally:
        decision.close()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_held_input_costs_no_answer_its_sla(decision, is_stopped):
    proxy = f"p-{decision.port}"
    lock = decision.directory / "input" / proxy / "0" / "lock"
    with Load([decision.port]) as load:
        load.until(is_preferred, "preferred")
        with held(lock, is_stopped=is_stopped):
            at = load.until(lambda a: "not logged" in (a["reason"] or ""), "a default")
            before = len(load.answers)
            load.more(30)
            during = load.answers[before:]
        load.until(is_preferred, "preferred again")
    assert {a["kind"] for a in during} == {"default"}
    assert {a["answered_by"] for a in during} == {"proxy"}
    # No answer has waited for the lock (10 s), however busy the machine is.
    assert max(a["waited_ms"] for a in during) < SLOW_MS
    assert load.answers[at - 1]["result"] == {"score": 0.0, "by": "default"}


HOLD_S = 11.0
"""How long a test holds a lock, in seconds: a process that waits for it would give up
(`lock_timeout_ms`) within this time.
"""


def test_an_input_that_is_held_for_longer_than_any_timeout_costs_no_answer_its_sla(decision):
    """Answers of one connection come in order: one that waited for the lock would be the only one
    of its client for all of that time.
    """
    lock = decision.directory / "input" / f"p-{decision.port}" / "0" / "lock"
    with Load([decision.port]) as load:
        load.until(is_preferred, "preferred")
        with held(lock):
            load.until(is_default, "a default")
            end_s = time.monotonic() + HOLD_S
            before = len(load.answers)
            while time.monotonic() < end_s:
                load.more(1)
            during = load.answers[before:]
        load.until(is_preferred, "preferred again")
    assert {(a["kind"], a["answered_by"]) for a in during} == {("default", "proxy")}
    assert not load.refusals
    assert not load.broken
    # No answer has waited for the lock, and none is missing: each client has several answers.
    assert max(a["waited_ms"] for a in during) < HOLD_S * 1000 / 2
    for client in range(4):
        assert sum(a["client"] == client for a in during) > 2


def test_held_results_and_scores_hold_up_no_process(decision):
    proxy = f"p-{decision.port}"
    results = decision.directory / "results" / proxy / "0" / "lock"
    scores = [decision.directory / "scores" / name / "0" / "lock" for name in ("gbm", "mlp")]
    with Load([decision.port]) as load:
        with held(results):
            load.until(lambda a: a["answered_by"] == "proxy", "the proxy's own answer")
            before = len(load.answers)
            load.more(10)
            assert max(a["waited_ms"] for a in load.answers[before:]) < SLOW_MS
        load.until(is_preferred, "preferred again")
        with held(*scores):
            # The third model still reports, and the server still decides.
            load.until(lambda a: a.get("model") == "fast", "the fallback")
            load.more(10)
        load.until(is_preferred, "preferred again")


def test_held_locks_of_control_and_group_delay_no_answer(decision):
    control = decision.directory / "control"
    locks = [path / "0" / "lock" for path in control.iterdir() if (path / "0" / "lock").exists()]
    groups = decision.directory / "input" / ".groups"
    old = []
    for model in MODELS:  # earlier versions had such a lock
        old.append(groups / model / "lock")
        old[-1].touch()
    boards = [decision.directory / name / ".doorbells" / "board" for name in ("input", "scores")]
    making = decision.directory / "input" / ".doorbells" / "making"
    assert locks
    with held(*locks, *old, *boards, making), Load([decision.port]) as load:
        load.until(is_preferred, "preferred")
        # A champion that is killed and restarted gets its partitions back without these locks.
        decision.kill("gbm")
        load.until(lambda a: a.get("model") == "mlp", "the fallback")
        decision.start("gbm")
        load.until(is_preferred, "preferred again")


def test_outcomes_are_refused_while_their_log_is_held_and_nothing_waits_for_them(decision):
    with Client(decision.port) as client, Client(decision.port) as asking:
        _tell_while_held(decision, client, asking)


def _tell_while_held(decision, client, asking):
    assert client.post({"id": "x", "outcome": 1}, path="/v1/outcomes")[0] == 202
    lock = decision.directory / "outcomes" / f"p-{decision.port}" / "0" / "lock"
    answers = []

    def tell():
        answers.append(client.post({"id": "x", "outcome": 2}, path="/v1/outcomes"))

    with held(lock):
        telling = threading.Thread(target=tell)
        telling.start()
        status, answer = asking.post({"data": {}})
        assert (status, answers) == (200, []), answer
        telling.join()
    status, refusal = answers[0]
    assert status == 503
    assert "lock" in str(refusal)
    assert client.post({"id": "x", "outcome": 3}, path="/v1/outcomes")[0] == 202


def test_a_proxy_stops_while_its_partitions_are_held(tmp_path):
    directory = tmp_path / "fraud"
    decision = Decision(directory, write_decision(directory))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred")
        proxy = f"p-{decision.port}"
        locks = [
            directory / place / "0" / "lock" for place in (f"input/{proxy}", f"results/{proxy}")
        ]
        with held(*locks):
            with Client(decision.port) as client:
                assert client.post({"data": {}})[1]["kind"] == "default"
            for name in ("proxy-0", "server", "gbm"):
                decision.signal(name, signal.SIGTERM)
            for name in ("proxy-0", "server", "gbm"):
                assert decision.processes[name].wait(timeout=60) == 0
    finally:
        decision.close()
