"""Check `rdv compare` and `rdv promote` of a served decision: live, watched, rolled back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rdv.rendezvous.messages import decode_result
from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

# The models give the same answers, except one in fifty. {"hurt": "mlp"} makes mlp raise.
MODEL = """
version = "1"

def predict(rows):
    if any(row.get("hurt") == "{name}" for row in rows):
        raise ValueError("no such luck")
    odd = "{name}" == "logit"
    return [
        {{"action": "ab"[row["n"] % 2 ^ (odd and row["n"] % 50 == 0)]}} for row in rows
    ]
"""


@pytest.fixture
def fraud(decision):
    for name in ("mlp", "logit", "rules"):
        Path(f"fraud/models/{name}.py").write_text(MODEL.format(name=name))
    text = Path("fraud/rdv.toml").read_text()
    assert "#late_max = 0.01" in text
    # The effect of a loaded machine on latency is not tested here.
    Path("fraud/rdv.toml").write_text(text.replace("#late_max = 0.01", "late_max = 0.5"))
    rows = "".join(json.dumps({"data": {"n": n}}) + "\n" for n in range(1, 201))
    Path("rows.jsonl").write_text(rows)
    hurt = "".join(json.dumps({"data": {"n": n, "hurt": "logit"}}) + "\n" for n in range(1, 201))
    Path("hurt.jsonl").write_text(hurt)
    return decision


MARGINAL = ("--accept", "marginal")


def load(rdv, rows, seconds=2):
    done = rdv(
        "load", "fraud", "--rate", 100, "--duration", f"{seconds}s", "--data", rows, "--json"
    )
    # A machine that gives this test no CPU time for ten seconds is not what is tested.
    assert done.row()["statuses"]["200"] > 90 * seconds, done.err


def schedule():
    return Path("fraud/schedules/production.toml").read_text()


def labels():
    with open_stream("fraud/results") as results, results.consumer() as consumer:
        found = []
        while records := consumer.poll(10_000):
            found += [(r.timestamp_ns, decode_result(r.value)) for r in records]
    return [result for _, result in sorted(found, key=lambda one: one[0])]


def test_a_promotion_is_watched_and_rolled_back(rdv, serve, start, fraud):
    serve()
    load(rdv, "rows.jsonl", 3)
    compared = rdv("compare", "fraud", "mlp", "logit", "--json").row()
    assert compared["requests"] == 300
    assert compared["both"] > 250
    assert compared["classes"]["rate"]["estimate"] == pytest.approx(0.98, abs=0.015)
    assert compared["first"]["evaluation"]["count"] > 250
    before = schedule()
    options = ("--min-requests", 200, "--yes", "--watch", "10m", *MARGINAL, "--json")
    promotion = start("promote", "fraud", "logit", *options)
    # The promotion is live when answers use the new schedule.
    while before == schedule():
        assert promotion.poll() is None, promotion.stderr.read()
        load(rdv, "rows.jsonl", 1)
    load(rdv, "rows.jsonl", 1)
    while promotion.poll() is None:
        load(rdv, "hurt.jsonl", 1)
    found = json.loads(promotion.stdout.read())
    assert promotion.returncode == 99
    words = promotion.stderr.read().decode()
    assert "rolled back to production@" in words
    assert found["verdict"] in ("pass", "marginal")
    assert (found["promoted"], found["rolled_back"]) == (True, True)
    assert found["live_after_ms"] < 60_000
    assert found["watch"]["breaches"]
    assert found["watch"]["errors"] + found["watch"]["others"] > 0
    assert schedule() == before
    events = rdv("events", "fraud", "--kind", "promoted", "--kind", "rolled_back").rows()
    promoted, back = events
    assert (promoted["before"], promoted["after"]) == (back["after"], back["before"])
    assert promoted["by"] == back["by"]
    assert promoted["by"].startswith("rdv promote fraud logit")
    assert "mlp is the champion again in place of logit: " in back["message"]
    load(rdv, "rows.jsonl", 1)
    results = labels()
    assert {result.schedule for result in results} == {found["was"], found["schedule"]}
    assert results[-1].schedule == found["was"]
    assert [r.model for r in results if r.kind == "preferred"][-1] == "mlp"
    # No client was left without an answer.
    assert rdv("verify", "fraud").code == 0


def test_a_champion_that_answers_otherwise_than_when_it_was_judged_is_rolled_back(
    rdv, serve, start, fraud
):
    """Its weights are inverted while it is watched: no error, no miss, no default."""
    serve()
    load(rdv, "rows.jsonl", 3)
    before = schedule()
    options = ("--min-requests", 200, "--yes", "--watch", "10m", *MARGINAL, "--json")
    promotion = start("promote", "fraud", "logit", *options)
    while before == schedule():
        assert promotion.poll() is None, promotion.stderr.read()
        load(rdv, "rows.jsonl", 1)
    inverted = MODEL.format(name="logit").replace('"ab"', '"ba"')
    Path("fraud/models/logit.py").write_text(inverted)
    while promotion.poll() is None:
        load(rdv, "rows.jsonl", 1)
    found = json.loads(promotion.stdout.read())
    assert promotion.returncode == 99
    assert found["rolled_back"]
    assert "disagreements" in {one["kind"] for one in found["watch"]["breaches"]}
    assert "differ from the old champion's" in promotion.stderr.read().decode()
    assert schedule() == before


def test_a_good_champion_breaks_no_limit(rdv, serve, fraud):
    serve()
    load(rdv, "rows.jsonl", 3)
    done = rdv(
        "promote", "fraud", "logit", "--min-requests", 200, "--yes", "--watch", "1s", *MARGINAL
    )
    assert done.code == 0, done.err
    assert "live after" in done.out
    load(rdv, "rows.jsonl", 1)
    last = [result for result in labels() if result.model == "logit"][-1]
    assert last.kind == "preferred"
    assert "but no request came: the promotion is not confirmed" in done.err
    assert rdv("verify", "fraud").code == 0
