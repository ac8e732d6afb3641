"""Check `rdv ab` of a served decision: the proxy assigns the keys, outcomes are sent later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rdv.rendezvous.messages import decode_request
from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

# mlp is always right; logit is wrong in every tenth request.
MODEL = """
version = "1"

def predict(rows):
    odd = "{name}" == "logit"
    truth = ["a", "c"]
    return [
        {{"label": "b" if odd and row["n"] % 10 == 0 else truth[row["n"] % 20 < 10]}}
        for row in rows
    ]
"""
LOGIT_FIRST = 'sla_ms = 5000\ndefault = {label = "?"}\n[[step]]\naccept = ["logit"]\n'


def test_an_ab_test_over_a_served_decision(rdv, serve, decision):
    for name in ("mlp", "logit", "rules"):
        Path(f"fraud/models/{name}.py").write_text(MODEL.format(name=name))
    Path("fraud/schedules/logit-first.toml").write_text(LOGIT_FIRST)
    settings = Path("fraud/rdv.toml")
    text = settings.read_text()
    for key, was, is_now in (
        ("type", "probability", "class"),
        ("answer", "score", "label"),
        ("field", "fraud", "label"),
    ):
        assert f'{key} = "{was}"' in text
        text = text.replace(f'{key} = "{was}"', f'{key} = "{is_now}"')
    settings.write_text(text + '\n[cohorts.b]\nshare = 0.5\nschedule = "logit-first"\n')
    rows = [{"data": {"n": n, "user": f"u-{n}"}} for n in range(1, 601)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    serve()
    loaded = rdv(
        *("load", "fraud", "--rate", 150, "--duration", "4s", "--data", "rows.jsonl"),
        *("--key-field", "user", "--json"),
    )
    # A machine that gives this test no CPU time for ten seconds is not what is tested.
    assert loaded.row()["statuses"]["200"] > 550, loaded.err
    with open_stream("fraud/input") as asked, asked.consumer() as consumer:
        requests = []
        while records := consumer.poll(10_000):
            requests += [decode_request(record.value) for record in records]
    with open_stream("fraud/outcomes") as outcomes, outcomes.producer() as producer:
        for request in requests:
            is_c = json.loads(bytes(request.data))["n"] % 20 < 10
            line = {"id": request.id, "outcome": {"label": "c" if is_c else "a"}}
            producer.send("outcomes", json.dumps(line).encode() + b"\n")
    found = rdv("ab", "fraud", "--json").row()
    rest, cohort = found["arms"]
    assert rest["requests"] + cohort["requests"] == len(requests) == 600
    assert min(rest["keys"], cohort["keys"]) > 200
    assert found["sample_ratio"]["mismatch"] is False
    assert rest["mean"] > 0.97
    assert cohort["mean"] == pytest.approx(0.9, abs=0.06)
    (one,) = found["comparisons"]
    assert one["paired"]["finding"] == "worse"
    assert one["paired"]["difference"]["estimate"] == pytest.approx(-0.1, abs=0.02)
    assert one["outcomes_depend_on_answers"] is False
    shown = rdv("ab", "fraud")
    assert shown.code == 0
    assert "The split is as planned" in shown.out
