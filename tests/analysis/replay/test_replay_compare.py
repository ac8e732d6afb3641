"""Check the comparison of a replay with the log against counts request by request."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS, MadeLog, make_requests

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import Reading, sample_answers
from rdv.analysis.dataset.values import Extract
from rdv.analysis.measure.choose import measure_for
from rdv.analysis.replay import rows as rows_module
from rdv.analysis.replay.child import ERROR, RESULT
from rdv.analysis.replay.compare import ANSWERS, Pairs, compare, extract_for
from rdv.analysis.replay.rows import Spill
from rdv.decision.outcome import INFERRED
from rdv.decision.value import Value
from rdv.rendezvous.messages import Truth, encode_truth
from rdv.stream import open_stream

COUNT = 400


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a log, and "block" and "pass" in turn as the outcome of every third request."""
    directory = tmp_path_factory.mktemp("compare") / "fraud"
    log = MadeLog(make_requests(COUNT), partitions=2)
    log.write(directory)
    clock = FakeClock()
    with (
        open_stream(str(directory / "outcomes"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        for number, request in enumerate(log.requests):
            if number % 3 == 0:
                value = "block" if number % 2 else "pass"
                truth = Truth(request.id, msgspec.Raw(orjson.dumps(value)))
                producer.send("cli", encode_truth(truth), partition=0)
    return directory, log


def answers_of(log, model):
    """Return the recorded answers of the model, by request number."""
    found = {}
    for request in log.requests:
        for _, score in request.reports:
            if score.model == model and score.error is None and score.refusal is None:
                found[request.number] = orjson.loads(bytes(score.result))
    return found


def compared(directory, log, said, skip=(), measure=None, default=None):
    """Spill `said(number)` (None: an error) in the order of the requests, and compare."""
    extract = Extract(Reading("class")) if measure is None else measure.extract
    spill = Spill()
    for request in log.requests:
        if request.number in skip:
            continue
        answer = said(request.number)
        value = math.nan if answer is None else extract.of_json(orjson.dumps(answer))
        code = ERROR if answer is None else RESULT
        spill.add([request.id], [request.wall_ns], [value], bytes([code]))
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, spill, extract, None, None, measure=measure, default=default)
    spill.close()
    return found


@pytest.mark.parametrize("block", [7, 65_536])
def test_replaying_the_champions_answers_agrees_fully(made, monkeypatch, block):
    monkeypatch.setattr(rows_module, "SPILL_ROWS", block)
    directory, log = made
    champion = answers_of(log, "gbm")
    found = compared(directory, log, champion.get)
    assert found.requests == COUNT
    gbm = found.of("gbm")
    assert gbm.pairs.count == gbm.pairs.equal == len(champion)
    agreement = gbm.agreement(is_number=found.is_number)
    assert (agreement.rate.estimate, agreement.kappa.estimate) == (1, 1)
    # Where the replayed model failed, its answer is not right; what was recorded is not there.
    truths = {n: "block" if n % 2 else "pass" for n in range(0, COUNT, 3)}
    there = {n: truth for n, truth in truths.items() if n in champion}
    right = sum(champion[n]["action"] == truth for n, truth in there.items())
    assert (found.known, found.right) == (len(truths), right)
    assert found.unanswered == len(truths) - len(there)
    assert (gbm.known, gbm.right) == (len(there), right)
    assert (gbm.right_on.only_first, gbm.right_on.only_second) == (0, 0)
    given = found.of(ANSWERS)
    answered = {
        n: orjson.loads(bytes(log.results[log.requests[n].id].result))["action"] for n in truths
    }
    theirs = sum(answered[n] == truth for n, truth in truths.items())
    assert given.pairs.count == len(champion)
    assert given.known == len(range(0, COUNT, 3))
    counts = given.right_on
    assert (counts.both + counts.only_first, counts.both + counts.only_second) == (right, theirs)
    assert given.advantage().difference.estimate == pytest.approx((right - theirs) / len(truths))


COST = {"block": {"block": 0.0, "pass": -5.0}, "pass": {"block": -8.0, "pass": 1.0}}


def test_a_failure_is_worth_the_default_that_clients_get(made):
    directory, log = made
    answers = [{"action": "block"}, {"action": "pass"}]
    measure = measure_for(answers, ["block", "pass"], name="value", value=Value(cost=COST))
    found = compared(
        directory,
        log,
        lambda n: None if n % 5 == 0 else {"action": "block" if n % 2 else "pass"},
        measure=measure,
        default={"action": "pass"},
    )
    said = {n: "pass" if n % 5 == 0 or n % 2 == 0 else "block" for n in range(0, COUNT, 3)}
    worth = [COST[said[n]]["block" if n % 2 else "pass"] for n in said]
    given = found.of(ANSWERS).contrast
    assert given.requests == len(worth)
    assert given.first.estimate == pytest.approx(np.mean(worth))
    rules = answers_of(log, "rules")
    there = [n for n in said if n in rules]
    contrast = found.of("rules").contrast
    assert contrast.first.estimate == pytest.approx(
        np.mean([COST[said[n]]["block" if n % 2 else "pass"] for n in there])
    )
    assert "mean value" in " ".join(found.sentences()).lower()


def test_a_model_that_lacks_the_judged_field_is_named(tmp_path):
    log = MadeLog(make_requests(COUNT))
    for request in log.requests:
        request.reports = [
            (at_ms, msgspec.structs.replace(score, result=msgspec.Raw(b'{"score":0.5}')))
            if score.model == "rules" and score.error is None and score.refusal is None
            else (at_ms, score)
            for at_ms, score in request.reports
        ]
    log.write(tmp_path)
    measure = measure_for([{"action": "pass"}], ["pass", "block"], on="action")
    found = compared(tmp_path, log, lambda _: {"action": "pass"}, measure=measure)
    assert found.lacking() == ["rules"]
    assert found.as_json()["lacking"] == ["rules"]


def test_intervals_are_by_key(tmp_path):
    """Requests of four customers say little, however many they are."""
    log = MadeLog(make_requests(COUNT))
    for request in log.requests:
        request.key = f"customer-{request.number % 4}"
    log.write(tmp_path)
    with (
        open_stream(str(tmp_path / "outcomes"), clock=FakeClock()) as stream,
        stream.producer() as producer,
    ):
        for request in log.requests:
            truth = Truth(request.id, msgspec.Raw(b'"pass"' if request.number % 2 else b'"block"'))
            producer.send("cli", encode_truth(truth), partition=0)
    found = compared(tmp_path, log, lambda n: {"action": "pass" if n % 3 else "block"})
    assert not found.accuracy().bounded
    assert not found.of("gbm").accuracy().bounded
    assert not found.of("gbm").advantage().difference.bounded
    assert "only 4 keys" in found.accuracy().method


def test_only_what_was_replayed_is_compared(made):
    directory, log = made
    skipped = set(range(50, 150))
    found = compared(directory, log, lambda _: {"action": "pass"}, skipped)
    assert found.requests == COUNT - 100
    assert found.known == len([n for n in range(0, COUNT, 3) if n not in skipped])
    rules = answers_of(log, "rules")
    assert found.of("rules").pairs.count == len(set(rules) - skipped)
    assert found.of("rules").known == len({n for n in rules if n % 3 == 0} - skipped)


def test_an_archive_may_reach_further_back(made):
    """Requests that the log no longer has are left out, and the others are still found."""
    directory, log = made
    extract, spill = Extract(Reading("class")), Spill()
    extract.of_answer({"action": "pass"})
    old = [f"old{n}" for n in range(200_000)]
    spill.add(old, [BEGIN_NS - 10**12] * len(old), [0.0] * len(old), bytes(len(old)))
    ids = [request.id for request in log.requests]
    spill.add(ids, [r.wall_ns for r in log.requests], [0.0] * COUNT, bytes(COUNT))
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, spill, extract, None, None)
    spill.close()
    assert found.requests == COUNT


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(2, 50))
def test_a_sample_is_every_nth_pair(sizes, limit):
    pairs, number = Pairs(limit), 0
    for size in sizes:
        values = np.arange(number, number + size, dtype=float)
        pairs.add(values, values + (values % 2))
        number += size
    first, second = pairs.sample()
    assert pairs.count == number
    assert pairs.equal == (number + 1) // 2
    assert first.tolist() == list(range(0, number, pairs.stride))
    assert (second == first + first % 2).all()
    assert len(first) <= limit
    assert pairs.stride == 1 or number > limit


def test_pairs_without_a_value_are_left_out():
    pairs = Pairs()
    pairs.add(np.array([1, np.nan, 3, 4]), np.array([1, 2, np.nan, 5]))
    assert (pairs.count, pairs.equal) == (2, 1)


@pytest.mark.parametrize(
    ("new", "recorded", "field"),
    [
        ({"score": 1}, [{"action": "x", "score": 2}], "score"),
        ({"score": 1, "action": "x"}, [{"score": 2}], "score"),
        ({"score": 1, "action": "x"}, [{"action": "y", "score": 2}], "action"),
        ({"score": 1}, [{"value": 2}], None),
        ({"score": 1}, [7], None),
        (7, [{"score": 1}], None),
    ],
)
def test_the_field_that_both_have(new, recorded, field):
    extract = extract_for(orjson.dumps(new), recorded, [], INFERRED)
    assert extract.reading.answer == field
    named = extract_for(orjson.dumps(new), recorded, [], INFERRED, "mine")
    assert named.reading.answer == "mine"


def test_recorded_answers_are_read(made):
    with Recorded(str(made[0])) as recorded:
        found = sample_answers(recorded)
    assert found
    assert all(set(answer) == {"score", "action"} for answer in found)
