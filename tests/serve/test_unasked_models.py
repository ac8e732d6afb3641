"""Check over real processes that no request waits for a model that was not asked about it."""

from __future__ import annotations

import pytest
from running import MODELS, Client, Decision, write_decision

LEAN = '[cohorts]\nsalt = "1"\n[cohorts.lean]\nshare = 0.5\nschedule = "production"\n'


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Run a decision: gbm scores half of the requests, and `fast` alone those of cohort `lean`."""
    directory = tmp_path_factory.mktemp("selective") / "fraud"
    port = write_decision(directory, more=LEAN + 'models = ["fast"]\n')
    file = directory / "rdv.toml"
    file.write_text(file.read_text().replace("[models.gbm]", "[models.gbm]\nsample = 0.5"))
    decision = Decision(directory, port)
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def ask_until(client, body, wanted, times=200):
    for number in range(times):
        answer = client.post(body(number))[1]
        if wanted(answer):
            return answer
    raise AssertionError("no such answer")


def outcomes(answer):
    return {one["model"]: one["outcome"] for one in answer["trace"]}


def test_only_sampled_models_are_waited_for(sampled):
    with Client(sampled.port) as client:
        body = lambda _: {"data": {}, "trace": True}  # noqa: E731
        ask_until(client, body, lambda a: a["model"] == "gbm")
        left_out = ask_until(client, body, lambda a: outcomes(a).get("gbm") == "not sampled")
    assert (left_out["kind"], left_out["model"]) == ("fallback", "mlp")
    assert left_out["step"] == 2
    assert "not sampled" in left_out["reason"]
    asked = set(sampled.reports("gbm"))
    assert left_out["id"] not in asked


def test_a_request_may_name_the_models_it_wants(sampled):
    with Client(sampled.port) as client:
        for _ in range(20):
            answer = client.post({"data": {}, "models": ["gbm"], "trace": True})[1]
            if answer["model"] == "gbm":
                break
        assert answer["model"] == "gbm"
        others = {name: what for name, what in outcomes(answer).items() if name != "gbm"}
        assert others == {"mlp": "not sampled", "fast": "not sampled"}
        status, failure = client.post({"data": {}, "models": ["gbm", "stranger"]})
        assert status == 422
        assert "stranger" in failure["error"]["message"]
        assert client.post({"data": {}, "models": []})[0] == 422
        assert client.post({"data": {}, "models": ["gbm"] * 300})[0] == 400


def test_a_cohort_may_have_models_of_its_own(sampled):
    with Client(sampled.port) as client:
        answer = ask_until(
            client,
            lambda n: {"data": {}, "key": f"user-{n}", "trace": True},
            lambda a: a["cohort"] == "lean" and a["model"] is not None,
        )
    assert answer["model"] == "fast"
    assert outcomes(answer)["gbm"] == "not sampled"
    assert answer["id"] not in sampled.reports("mlp")
