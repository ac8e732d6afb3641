"""Make logs of models that differ in a known way."""

from __future__ import annotations

import random

import msgspec
import orjson
from made_log import PREFIX, MadeLog, MadeRequest, make_score

from rdv.rendezvous.messages import make_request_id
from rdv.stream import open_stream


def scored(count, answers, gap_ms=10.0, arrive_ms=(5.0, 2.0, 1.0), cohort=None, **said):
    """Make a log; `answers(n, chance)` answers for gbm, logit and rules (None: an error)."""
    chance = random.Random(7)
    requests = []
    for number in range(count):
        id_ = make_request_id(PREFIX, number)
        reports = []
        for model, at_ms, answer in zip(
            ("gbm", "logit", "rules"), arrive_ms, answers(number, chance), strict=True
        ):
            how = {"error": "boom"} if answer is None else {"result": raw(answer)}
            if isinstance(answer, str) and answer in ("behind", "expired"):
                how = {"refusal": answer}
            reports.append((at_ms + chance.random(), make_score(id_, model, **how, **said)))
        made = MadeRequest(number, number * gap_ms, reports)
        if cohort is not None:
            made.cohort = cohort(made)
        requests.append(made)
    return MadeLog(requests)


def raw(answer):
    return msgspec.Raw(orjson.dumps(answer))


def record_outcomes(directory, outcomes):
    """Append outcomes: pairs of request number and outcome."""
    with open_stream(str(directory / "outcomes")) as stream, stream.producer() as producer:
        for number, outcome in outcomes:
            line = {"id": make_request_id(PREFIX, number), "outcome": outcome}
            producer.send("outcomes", orjson.dumps(line) + b"\n")
