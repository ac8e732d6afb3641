"""Check the clients against a real decision, and across the death of its proxy."""

from __future__ import annotations

import threading

import pytest
from running import MODELS, Decision, write_decision

import rdv


@pytest.fixture
def decision(tmp_path):
    decision = Decision(tmp_path / "fraud", write_decision(tmp_path / "fraud"))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def test_a_client_lives_through_the_death_of_the_proxy(decision):
    """Each call is decided once, and answered or given the caller's default; nothing raises."""
    url = f"http://127.0.0.1:{decision.port}"
    answers = []
    told = threading.Event()

    def ask(client, number):
        for n in range(40):
            data = {"n": n, "client": number}
            answers.append(
                client.decide(data, key=number, default="own", request_id=f"{number}-{n}")
            )
            if len(answers) > 60:
                told.set()

    with rdv.Client(url, timeout=60, retries=200) as client:
        first = client.decide({"a": 1}, key="user-42", trace=True)
        assert first.kind in ("preferred", "fallback")
        assert first.answer["score"] == 0.5
        assert first.trace[0].outcome == "result"
        chosen = client.decide({}, models=["mlp"], schedule="production")
        assert (chosen.model, chosen.answer["by"]) in (("mlp", "mlp"), (None, "default"))
        several = client.decide_many([{"a": n} for n in range(3)], keys=[1, 2, 3], default="own")
        assert len({answer.id for answer in several}) == 3
        with pytest.raises(rdv.RequestRefused) as raised:
            client.decide({}, schedule="nope")
        assert (raised.value.status, raised.value.server_code) == (422, "unknown_schedule")
        client.outcome(first.id, "fraud")
        assert client.outcomes([(first.id, "ok")]) == 1
        threads = [threading.Thread(target=ask, args=(client, n)) for n in range(3)]
        for thread in threads:
            thread.start()
        assert told.wait(60)
        decision.kill("proxy-0")
        decision.restart("proxy-0")
        for thread in threads:
            thread.join()
    assert len(answers) == 120
    assert all(answer.answered_by != "caller" for answer in answers)
    stories = decision.stories()
    for answer in answers:
        assert (stories[answer.id]["kind"], answer.schedule[:10]) == (answer.kind, "production")
    assert len({answer.id for answer in answers}) == 120
    assert sum(b'"n":' in line for _, line in decision.lines("input")) == 120
    outcomes = [line for _, line in decision.lines("outcomes")]
    assert [b'"fraud"' in line for line in outcomes] == [True, False]


def test_a_decision_that_is_killed_is_the_callers_own_default(decision):
    with rdv.Client(f"http://127.0.0.1:{decision.port}", retries=1) as client:
        assert client.decide({}, timeout=60).answered_by != "caller"
        decision.kill("proxy-0")
        answer = client.decide({}, default={"score": 0})
        assert (answer.is_default, answer.answered_by) == (True, "caller")
