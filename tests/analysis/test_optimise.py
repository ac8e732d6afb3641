"""Check the search for schedules: which figures are exact, and the intervals of the others."""

from __future__ import annotations

import msgspec
import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import DEFAULT_ANSWER, PRODUCTION, MadeLog, make_requests

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NothingToSearch
from rdv.analysis.measure.waits import wait_quantile
from rdv.analysis.optimise.cells import Columns, make_cells
from rdv.analysis.optimise.measured import right_of
from rdv.analysis.optimise.study import candidates, grid_ms, named, optimise, to_toml
from rdv.analysis.optimise.view import optimise_page
from rdv.analysis.statistics import compare_shares, quantile_interval, wilson
from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals
from rdv.analysis.whatif.decide import NO_MODEL, decide_all
from rdv.decision.outcome import Outcome
from rdv.decision.value import Value
from rdv.rendezvous.schedule import lint_schedule, schedule_from_object, schedule_from_toml
from rdv.stream import open_stream


def made_columns(count, models=3, seed=0):
    chance = np.random.default_rng(seed)
    at_us = (chance.exponential(12, (models, count)) * 10).astype(np.int64) * 100  # many ties
    key = (at_us << KEY_BITS) | np.argsort(chance.random((models, count)), axis=0)
    key[chance.random((models, count)) < 0.1] = NEVER_KEY
    is_answer = (chance.random((models, count)) < 0.9) & (key < NEVER_KEY)
    right = (chance.random((models + 1, count)) < 0.7).astype(np.float32)
    right[:, chance.random(count) < 0.2] = np.nan
    arrivals = Arrivals(
        tuple("abcde"[:models]),
        key,
        is_answer,
        np.full(count, FOREVER_US),
        np.ones(models, bool),
        np.zeros(models, bool),
    )
    return Columns(arrivals, right)


@pytest.mark.parametrize("models", [1, 2, 3, 4])
def test_cells_decide_as_every_request_does(models):
    columns = made_columns(3_000, models)
    ends_ms = [3.0, 7.5, 12.0, 20.0]
    edges_us = np.array([*(int(end * 1000) for end in ends_ms), 50_000], np.int64)
    cells = make_cells(columns, edges_us)
    assert cells.weight.sum() == 3_000
    if models < 3:
        assert len(cells) < 500
    live = PRODUCTION
    for schedule in candidates(columns.arrivals.models, ends_ms, live, any_model=True):
        tried = cells.try_out(schedule)
        decided = decide_all(schedule, columns.arrivals)
        right = right_of(decided, columns)
        known = ~np.isnan(right)
        assert tried.score == pytest.approx(right[known].mean(), abs=1e-12)
        assert tried.default_share == pytest.approx((decided.model == NO_MODEL).mean(), abs=1e-12)
        # Waits are averages of a cell: their error is at most the widest interval.
        assert abs(tried.p99_ms - np.quantile(decided.at_us, 0.99) / 1000) < 30


def test_intervals_cover_what_they_should():
    """In a simulation, 95 % intervals contain the true value in about 95 % of 600 tries."""
    chance = np.random.default_rng(7)
    share = quantile = difference = 0
    truth = -np.log(0.01)
    for _ in range(600):
        hits = chance.binomial(200, 0.9)
        share += wilson(hits, 200).covers(0.9)
        quantile += quantile_interval(chance.exponential(1e6, 1_000), 0.99).covers(truth * 1e6)
        a, b = chance.random((2, 300)) < np.array([[0.8], [0.75]])
        difference += compare_shares(a, b).difference.covers(0.05)
    # Three standard deviations below 95 % of 600 are 554.
    assert share >= 554
    assert quantile >= 554
    assert difference >= 554
    # The intervals are not so wide that they always contain the true value.
    assert share < 600
    assert difference < 600


json_values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(
        st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(json_values)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_a_written_schedule_reads_back_equal(default) -> None:
    steps = [{"accept": ["a"], "until_ms": 12.5}, {"accept": ["b", "*"], "need": 2}]
    content = {"sla_ms": 40, "default": default, "step": steps}
    for judges in ([], ["a", "b"]):
        schedule = schedule_from_object({**content, "input_judges": judges}, "s")
        text = to_toml(schedule, "Chosen.\nBy hand.")
        assert schedule_from_toml(text, "s").content_hash == schedule.content_hash


def test_candidates_are_sound_and_as_many_as_wanted():
    answers_us = np.arange(0, 60_000, 7)
    for tries in (50, 500, 2000):
        ends_ms = grid_ms(answers_us, 50, 3, tries)
        found = list(candidates("abc", ends_ms, PRODUCTION, any_model=True))
        assert tries / 3 < len(found) <= max(tries, 200)
        for schedule in found:
            findings = lint_schedule(named(schedule, "s"), ["a", "b", "c"])
            assert not [f for f in findings if f.severity == "error"]


def written(directory, count=2_000, *, outcomes=0, log=None):
    log = log or MadeLog(make_requests(count))
    log.write(directory)
    if outcomes:
        with (
            open_stream(str(directory / "outcomes"), clock=FakeClock()) as stream,
            stream.producer() as producer,
        ):
            for made in log.requests[:outcomes]:
                truth = "pass" if made.number % 3 else "block"
                line = {"id": made.id, "outcome": {"action": truth}}
                producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
    return directory


def test_waiting_buys_agreement(tmp_path):
    with Recorded(str(written(tmp_path))) as recorded:
        found = optimise(recorded, PRODUCTION, tries=300)
    assert (found.measure, found.champion) == ("agreement", "gbm")
    assert found.learned_on == found.reported_on == 1_000
    scores = [point.learned_score for point in found.frontier]
    waits = [point.learned_p99_ms for point in found.frontier]
    assert scores == sorted(scores)
    assert waits == sorted(waits)
    assert len(found.frontier) > 2
    assert any("gains" in sentence for sentence in found.sentences())
    assert found.chosen.learned_p99_ms <= found.live.learned_p99_ms
    # The made-up rules disagree: a schedule that beats the live one is not worse in any figure.
    assert found.chosen.learned_score >= found.live.learned_score - 1e-9
    for point in [found.live, *found.frontier]:
        assert point.score.covers(point.score.estimate)
        assert sum(point.models.values()) == pytest.approx(1)


def test_a_limit_on_p99_is_kept(tmp_path):
    with Recorded(str(written(tmp_path))) as recorded:
        quick = optimise(recorded, PRODUCTION, p99_ms_max=15, tries=300)
        patient = optimise(recorded, PRODUCTION, p99_ms_max=45, tries=300)
    assert quick.chosen.learned_p99_ms <= 15
    assert patient.chosen.learned_score > quick.chosen.learned_score


def with_wrong_answers(is_wrong):
    """Make a log in which the answers that `is_wrong(number, model)` names are never right."""
    log = MadeLog(make_requests(2_000))
    wrong = msgspec.Raw(b'{"score":0.5,"action":"other"}')
    for made in log.requests:
        made.reports = [
            (at_ms, msgspec.structs.replace(score, result=wrong))
            if not (score.refusal or score.error) and is_wrong(made.number, score.model)
            else (at_ms, score)
            for at_ms, score in made.reports
        ]
    return log


def test_a_schedule_that_turns_out_to_be_worse_is_not_chosen(tmp_path):
    log = with_wrong_answers(
        lambda n, model: (
            n % 7 == 0 if n < 1_000 and model == "gbm" else n >= 1_000 and model != "gbm"
        )
    )
    with Recorded(str(written(tmp_path, outcomes=2_000, log=log))) as recorded:
        found = optimise(recorded, PRODUCTION, need_outcomes=True, tries=300)
        quick = optimise(recorded, PRODUCTION, need_outcomes=True, p99_ms_max=25, tries=300)
    assert found.chosen is None
    assert "worse than it on the later half" in " ".join(found.sentences())
    assert "best one found" in optimise_page(found, "fraud")
    # The live schedule is too slow for this limit: there is nothing better.
    assert not quick.keeps_live
    assert quick.chosen.gain.high < 0


def test_the_live_schedule_is_kept_where_no_other_one_is_better(tmp_path):
    log = with_wrong_answers(lambda _, model: model != "gbm")
    live = schedule_from_object(
        {"sla_ms": 200, "default": {"action": "review"}, "step": [{"accept": ["gbm"]}]}, "live"
    )
    with Recorded(str(written(tmp_path, outcomes=2_000, log=log))) as recorded:
        found = optimise(recorded, live, need_outcomes=True, p99_ms_max=300, tries=300)
    assert found.chosen is None
    assert "every other one was worse on the earlier half" in " ".join(found.sentences())


def test_accuracy_by_outcomes(tmp_path):
    with Recorded(str(written(tmp_path, outcomes=1_500))) as recorded:
        found = optimise(recorded, PRODUCTION, need_outcomes=True, tries=300)
    assert found.measure == "accuracy"
    # Outcomes are known of the first 1,500 of 2,000: half of them are learned from.
    assert (found.learned_on, found.judged) == (750, 750)
    # gbm and logit are always right, the rules are wrong in a third, the default always.
    assert found.frontier[-1].score.estimate > 0.95


def test_retired_models_are_not_used(tmp_path):
    with Recorded(str(written(tmp_path))) as recorded:
        found = optimise(recorded, PRODUCTION, without=["gbm"], tries=100)
    named_models = {m for p in found.frontier for s in p.schedule.steps for m in s.accept}
    assert named_models == {"logit", "rules"}


def test_too_few_requests_are_refused(tmp_path):
    written(tmp_path, 50)
    with Recorded(str(tmp_path)) as few, pytest.raises(NothingToSearch, match="fewer than"):
        optimise(few, PRODUCTION)
    other = tmp_path / "other"
    with (
        Recorded(str(written(other, 300))) as blind,
        pytest.raises(NothingToSearch, match="no out"),
    ):
        optimise(blind, PRODUCTION, need_outcomes=True)
    assert PRODUCTION.default == DEFAULT_ANSWER


def by_hand(log, schedule, worth, rows):
    """Return the mean value, and p99, of what the schedule answers to some of the requests."""
    found, waits = [], []
    copy = MadeLog(log.requests, {"production": schedule}, "production")
    for made in copy.requests:
        made.deadline_ms = None
    copy.decide()
    for made in log.requests[rows]:
        result = copy.results[made.id]
        answer = orjson.loads(bytes(result.result)) if result.model else {"action": "review"}
        found.append(worth[answer["action"]]["pass" if made.number % 3 else "block"])
        waits.append(result.waited_ms)
    return np.mean(found), float(np.sort(waits)[int(np.ceil(0.99 * len(waits))) - 1])


COST = {
    "pass": {"pass": 1.0, "block": -8.0},
    "block": {"pass": -5.0, "block": 0.0},
    "review": {"pass": -1.0, "block": -2.0},
}


def test_a_value_is_searched_for_and_reported(tmp_path):
    with Recorded(str(written(tmp_path, outcomes=2_000))) as recorded:
        value = Value(cost=COST, unit="EUR")
        found = optimise(recorded, PRODUCTION, metric="value", value=value, tries=200)
    assert (found.measure, found.unit) == ("mean value", "EUR")
    log = MadeLog(make_requests(2_000))
    later = slice(found.learned_on, None)
    for point in (found.live, found.chosen):
        score, p99_ms = by_hand(log, named(point.schedule, "production"), COST, later)
        assert point.score.estimate == pytest.approx(score)
        assert point.p99_ms.estimate == pytest.approx(p99_ms, abs=0.01)
    gain = found.chosen.score.estimate - found.live.score.estimate
    assert found.chosen.gain.estimate == pytest.approx(gain)
    assert "EUR per day" in " ".join(found.sentences())
    assert found.as_json()["metric"] == "value"


def test_a_loss_is_made_smaller(tmp_path):
    with Recorded(str(written(tmp_path, outcomes=2_000))) as recorded:
        outcome = Outcome(positive="block")
        found = optimise(recorded, PRODUCTION, metric="brier", outcome=outcome, tries=100)
        assert optimise(recorded, PRODUCTION, metric="roc-auc", outcome=outcome, tries=50)
    scores = [point.learned_score for point in found.frontier]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < point.score.estimate < 1 for point in found.frontier)


def test_the_limit_holds_on_the_later_half(tmp_path):
    """The champion becomes slow: what was quick enough at first is not chosen."""
    log = MadeLog(make_requests(2_000))
    for made in log.requests[1_000:]:
        made.reports = [
            (at_ms * (1.6 if score.model == "gbm" else 1), score) for at_ms, score in made.reports
        ]
    log.write(tmp_path)
    for limit_ms in (20.0, 25.0, 30.0, 40.0):
        with Recorded(str(tmp_path)) as recorded:
            found = optimise(recorded, PRODUCTION, p99_ms_max=limit_ms, tries=300)
        assert found.chosen.learned_p99_ms <= limit_ms
        assert found.chosen.p99_ms.estimate <= limit_ms
    with Recorded(str(tmp_path)) as recorded:
        found = optimise(recorded, PRODUCTION, tries=300)
    assert found.chosen.p99_ms.estimate <= found.live.p99_ms.estimate


def test_no_step_is_written_in_which_no_request_is_answered(tmp_path):
    """gbm never answers before 12 ms: a step that waits for it for less only delays the others."""
    log = MadeLog(make_requests(1_500))
    for made in log.requests:
        made.reports = [
            (at_ms + (12 if score.model == "gbm" else 0), score) for at_ms, score in made.reports
        ]
    log.write(tmp_path)
    with Recorded(str(tmp_path)) as recorded:
        found = optimise(recorded, PRODUCTION, p99_ms_max=20, tries=400)
    for point in (found.chosen, *found.frontier):
        for step in point.schedule.steps[:-1]:
            assert step.accept != ["gbm"] or step.until_ms > 12


def test_the_unit_is_the_key(tmp_path):
    """Five copies of each request, of one key, tell no more than one."""
    log = MadeLog(make_requests(2_000))
    alone = tmp_path / "alone"
    log.write(alone)
    with Recorded(str(alone)) as recorded:
        few = optimise(recorded, PRODUCTION, tries=50).live
    for number, made in enumerate(log.requests):
        made.key = f"k{number // 40}"
    log.write(tmp_path / "keyed")
    with Recorded(str(tmp_path / "keyed")) as recorded:
        keyed = optimise(recorded, PRODUCTION, tries=50).live
    assert keyed.score.estimate == few.score.estimate
    assert "by key" in keyed.p99_ms.method
    for made in log.requests:
        made.key = f"k{made.number % 5}"
    log.write(tmp_path / "five")
    with Recorded(str(tmp_path / "five")) as recorded:
        five = optimise(recorded, PRODUCTION, tries=50)
    assert not five.live.score.bounded
    assert not five.live.p99_ms.bounded
    assert "nan" not in str(five.sentences())


def test_what_is_wrong_together_widens_the_interval():
    chance = np.random.default_rng(5)
    waits = np.repeat(chance.exponential(10, 300), 20)
    keys = np.repeat(np.arange(300), 20).astype(np.uint64)
    by_key, by_request = wait_quantile(waits, 0.99, keys), quantile_interval(waits, 0.99)
    alone = quantile_interval(waits[::20], 0.99)
    assert by_key.low <= alone.low
    assert by_key.high >= by_request.high
    # Keys whose requests have nothing in common are as good as requests.
    loose = wait_quantile(chance.permutation(waits), 0.99, keys)
    exact = quantile_interval(waits, 0.99)
    assert loose.high - loose.low < 1.5 * (exact.high - exact.low) + 1


def test_wait_quantiles_by_key_cover(tmp_path):
    """60 keys with 30 requests each, whose waits are alike: 95 % intervals cover in 200 tries."""
    chance = np.random.default_rng(11)
    hits = 0
    keys = np.repeat(np.arange(400), 10).astype(np.uint64)
    truth = float(np.quantile(np.exp(chance.normal(size=2_000_000) * np.sqrt(1.25)), 0.9))
    for _ in range(200):
        base = np.repeat(chance.normal(size=400), 10)
        waits = np.exp(base + 0.5 * chance.normal(size=4_000))
        hits += wait_quantile(waits, 0.9, keys).covers(truth)
    assert hits >= 180


def test_the_price_of_a_millisecond_is_that_of_the_arrivals(tmp_path):
    with Recorded(str(written(tmp_path, outcomes=2_000))) as recorded:
        found = optimise(
            recorded, PRODUCTION, metric="value", value=Value(cost=COST, unit="EUR"), tries=20
        )
    price = found.price
    slas = [point.sla_ms for point in price.points]
    assert slas == sorted(slas)
    assert {45.0, 50.0, 55.0} <= set(slas)
    log = MadeLog(make_requests(2_000))
    for point in price.points:
        other = msgspec.structs.replace(PRODUCTION, sla_ms=point.sla_ms)
        score, _ = by_hand(log, other, COST, slice(None))
        assert point.score.estimate == pytest.approx(score), point.sla_ms
    said = " ".join(price.sentences())
    assert "The next 5 ms of the SLA (50 → 55 ms) would buy" in said
    assert "The last 5 ms of the SLA (45 → 50 ms) buy" in said
    live = next(point for point in price.points if point.sla_ms == 50)
    assert live.gain.estimate == 0


def test_models_without_the_judged_field_are_no_candidates(tmp_path):
    log = MadeLog(make_requests(600))
    for made in log.requests:
        made.reports = [
            (at_ms, msgspec.structs.replace(score, result=msgspec.Raw(b'{"score":0.5}')))
            if score.model == "rules" and score.error is None and score.refusal is None
            else (at_ms, score)
            for at_ms, score in made.reports
        ]
    log.write(tmp_path)
    with (
        open_stream(str(tmp_path / "outcomes"), clock=FakeClock()) as stream,
        stream.producer() as producer,
    ):
        for made in log.requests:
            line = {"id": made.id, "outcome": "pass" if made.number % 3 else "block"}
            producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
    with Recorded(str(tmp_path)) as recorded:
        found = optimise(recorded, PRODUCTION, need_outcomes=True, on="action", tries=50)
    models = {m for p in found.frontier for step in p.schedule.steps for m in step.accept}
    assert "rules" not in models
    assert "rules never answers with what is measured" in " ".join(found.remarks)
