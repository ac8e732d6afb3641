"""Make experiments whose truth is known: gbm is right in 95 % of requests, logit in 85 %."""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec
from compare_kit import raw, record_outcomes
from made_log import FAST, PREFIX, MadeLog, MadeRequest, make_score

from rdv.rendezvous.messages import make_request_id
from rdv.rendezvous.schedule import assign_cohort


@dataclass
class KeyedRequest(MadeRequest):
    user: str | None = None

    def message(self):
        return msgspec.structs.replace(super().message(), key=self.user)


def experiment(
    directory, count, *, keys=None, shares=None, right=(0.95, 0.85), truths=True, drop=0.0
):
    """Write a log; `drop` is the share of the cohort's requests that never arrive."""
    chance = random.Random(3)
    shares = {"fast": 0.5} if shares is None else shares
    requests, outcomes = [], []
    for number in range(count):
        user = f"user-{number % (keys or count)}"
        cohort = assign_cohort(user, "", shares)
        if cohort and chance.random() < drop:
            continue
        truth = chance.choice(["a", "b"])
        other = "b" if truth == "a" else "a"
        gbm, logit = (truth if chance.random() < share else other for share in right)
        id_ = make_request_id(PREFIX, number)
        reports = [
            (at_ms, make_score(id_, model, result=raw({"label": said, "score": 0.5})))
            for model, at_ms, said in (("gbm", 5.0, gbm), ("logit", 2.0, logit))
        ]
        made = KeyedRequest(number, number * 3.0, reports, user=user)
        if cohort:
            made.cohort, made.asked, made.deadline_ms = cohort, "fast", 25.0
        requests.append(made)
        outcomes.append((number, truths(made, truth) if callable(truths) else truth))
    log = MadeLog(requests)
    log.schedules |= {"fast": FAST}
    log.write(directory)
    if truths:
        record_outcomes(directory, [(n, truth) for n, truth in outcomes if truth is not None])
    return directory
