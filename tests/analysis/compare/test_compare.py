"""Check the figures of `compare` with made-up logs whose truth is known."""

from __future__ import annotations

import importlib

import msgspec
import numpy as np
import pytest
from compare_kit import record_outcomes, scored
from hypothesis import given
from hypothesis import strategies as st

from rdv.analysis.compare import compare
from rdv.analysis.compare.disagreements import read_disagreements
from rdv.analysis.compare.drift import RateCounter
from rdv.analysis.compare.segments import NoSegment, Segment, Segments
from rdv.analysis.compare.view import charts_of
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import ModelNotRecorded, SameModel
from rdv.analysis.measure import contrast_of
from rdv.analysis.measure.choose import measure_for
from rdv.analysis.metrics import looks
from rdv.analysis.statistics import (
    agreement_of_classes,
    agreement_of_scores,
    agreement_of_table,
    compare_shares,
)


def study(log, tmp_path, first="gbm", second="logit", outcomes=(), **options):
    log.write(tmp_path)
    if outcomes:
        record_outcomes(tmp_path, outcomes)
    with Recorded(str(tmp_path)) as recorded:
        return compare(recorded, first, second, **options)


def labels(number, chance):
    """Return answers: logit contradicts gbm on every tenth request; rules always says "pass"."""
    gbm = "block" if number % 3 == 0 else "pass"
    logit = ("pass" if gbm == "block" else "block") if number % 10 == 0 else gbm
    return {"action": gbm}, {"action": logit}, {"action": "pass"}


def test_agreement_of_classes_is_counted(tmp_path):
    found = study(scored(300, labels), tmp_path)
    assert (found.requests, found.both) == (300, 300)
    assert found.classes.rate.estimate == pytest.approx(0.9)
    assert set(found.class_names) == {'"block"', '"pass"'}
    assert int(found.classes.table.sum()) == 300
    assert found.scores is None
    assert found.accuracy is None
    assert found.first.versions == {"1": 300}


def test_accuracy_is_paired(tmp_path):
    truths = [(n, {"action": "block" if n % 3 == 0 else "pass"}) for n in range(200)]
    found = study(scored(300, labels), tmp_path, outcomes=truths)
    assert found.judged.extract.reading.kind == "class"
    assert (found.accuracy.both, found.accuracy.only_first) == (180, 20)
    assert (found.accuracy.only_second, found.accuracy.neither) == (0, 0)
    assert "gbm is better" in " ".join(found.sentences())


def test_a_bare_truth_is_held_against_the_number(tmp_path):
    """Answers name actions; the outcome of a fraud is 1."""

    def answers(number, chance):
        good = 0.9 if number % 2 else 0.1
        poor = chance.random()
        return (
            {"score": good, "action": "block" if number % 2 else "accept"},
            {"score": poor, "action": "block" if poor > 0.9 else "accept"},
            {"score": 0.5, "action": "review"},
        )

    found = study(scored(400, answers), tmp_path, outcomes=[(n, n % 2) for n in range(400)])
    assert found.judged.extract.reading.kind == "probability"
    assert found.accuracy.both + found.accuracy.only_first == 400
    assert found.accuracy.only_second == 0


def test_outcomes_that_fit_nothing(tmp_path):
    found = study(scored(100, labels), tmp_path, outcomes=[(n, "other") for n in range(100)])
    assert found.accuracy is None
    assert "answers say block, pass, outcomes say other" in " ".join(found.sentences())


def steps(number, chance):
    """Return scores in the same order on different scales, except for five requests."""
    score = (number * 37 % 500) / 500
    other = 1 - score if number in (3, 50, 123, 321, 444) else score
    return {"score": score}, {"score": 100 * other**3}, {"score": 0.5}


def test_scales_do_not_matter(tmp_path):
    found = study(scored(500, steps), tmp_path, disagreements=5)
    assert found.classes is None
    assert found.scores.correlation.estimate > 0.95
    assert found.first.quantiles[0.5] == pytest.approx(0.5, abs=0.02)
    assert found.second.quantiles[0.5] == pytest.approx(12.5, abs=2)
    pairs = found.pairs
    assert set(np.argsort(pairs.time_ns).tolist()) == set(range(500))
    with Recorded(str(tmp_path)) as recorded:
        worst = list(read_disagreements(recorded, pairs, found.disagreements, ("gbm", "logit")))
    worst = [msgspec.json.decode(msgspec.json.encode(one)) for one in worst]
    apart = [abs(1 - 2 * ((one["data"]["n"] * 37 % 500) / 500)) for one in worst]
    assert len(worst) == 5
    assert {one["data"]["n"] for one in worst} <= {3, 50, 123, 321, 444}
    assert apart == sorted(apart, reverse=True)
    assert worst[0]["answers"]["gbm"]["score"] == worst[0]["data"]["n"] * 37 % 500 / 500


def test_every_kind_of_disagreement_gets_its_turn(tmp_path):
    def answers(number, chance):
        if number == 77:
            return "a", "rare", "x"
        return "a", "b" if number % 2 else "a", "x"

    found = study(scored(200, answers), tmp_path, disagreements=2)
    with Recorded(str(tmp_path)) as recorded:
        some = list(read_disagreements(recorded, found.pairs, found.disagreements, ("a", "b")))
    assert [bytes(one["answers"]["b"]) for one in some] == [b'"rare"', b'"b"']


def test_errors_refusals_and_silence(tmp_path):
    def answers(number, chance):
        return (None if number < 10 else {"score": 0.1}, "behind" if number < 40 else 0.5, 0.3)

    found = study(scored(200, answers), tmp_path)
    assert found.first.errors == pytest.approx(0.05)
    assert found.second.refusals == pytest.approx(0.2)
    assert found.both == 160
    assert found.first.arrival.count == 190


def test_answers_in_the_window(tmp_path):
    found = study(scored(100, steps), tmp_path, window_ms=3.0)
    assert (found.first.in_window, found.second.in_window) == (0.0, 1.0)


def drifting(model_moves, canary_moves):
    def answers(number, chance):
        late = number >= 3000
        return (
            {"score": chance.random() ** (3 if late and model_moves else 1)},
            {"score": chance.random()},
            {"score": chance.random() ** (3 if late and canary_moves else 1)},
        )

    return scored(6000, answers, gap_ms=5.0)


@pytest.mark.parametrize(
    ("model_moves", "canary_moves", "cause"),
    [
        (False, False, "steady"),
        (True, False, "model changed"),
        (True, True, "input changed"),
        (False, True, "canary changed"),
    ],
)
def test_kinds_of_drift_are_distinguished(tmp_path, model_moves, canary_moves, cause):
    found = study(drifting(model_moves, canary_moves), tmp_path, canary="rules")
    assert [one.model for one in found.drift] == ["gbm", "logit"]
    assert found.drift[0].cause == cause
    assert charts_of(found)
    if cause == "model changed":
        begin_ns = found.drift[0].windows[0].start_ns
        hit = [w for w in found.drift[0].windows if w.verdict.cause == cause]
        assert 13e9 < hit[0].start_ns - begin_ns < 16e9


def test_without_a_canary_the_other_model_stands_in(tmp_path):
    found = study(drifting(True, False), tmp_path)
    assert not found.drift[0].is_canary
    assert "a canary would decide that" in found.drift[0].sentence
    assert any("no canary" in line for line in found.caveats())


def test_thinning_bounds_what_is_kept(tmp_path):
    log = scored(500, steps)
    found = study(log, tmp_path, pairs_max=100)
    assert len(found.pairs) == 100
    assert found.thinned == 5
    assert found.both == 500
    assert any("every 5th" in line for line in found.caveats())


def test_what_cannot_be_compared(tmp_path):
    log = scored(10, steps)
    with pytest.raises(SameModel):
        study(log, tmp_path, "gbm", "gbm")
    with Recorded(str(tmp_path)) as recorded, pytest.raises(ModelNotRecorded) as caught:
        compare(recorded, "gbm", "nobody")
    assert "gbm, logit, rules" in caught.value.hint()


def test_too_few_say_so(tmp_path):
    found = study(scored(3, labels), tmp_path)
    assert found.drift[0].cause == "too few"
    assert found.rates.anomalies is None
    assert found.as_json()["both"] == 3


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=200))
def test_a_table_says_what_its_requests_say(pairs):
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    whole = agreement_of_classes(a, b)
    table = agreement_of_table(whole.classes, whole.table)
    assert table.rate == whole.rate
    assert table.kappa.estimate == pytest.approx(whole.kappa.estimate, nan_ok=True)


@given(st.integers(0, 10**9), st.integers(50, 400), st.integers(1, 7))
def test_rates_count_every_whole_window(start_s, seconds, per_second):
    times_ns = (start_s * 10**9 + np.arange(seconds * per_second) * (10**9 // per_second)).astype(
        np.int64
    )
    counter = RateCounter()
    for part in np.array_split(times_ns, 5):
        counter.add(part)
    rates = counter.rates()
    inside = (times_ns >= rates.start_ns[0]) & (times_ns < rates.start_ns[-1] + rates.width_ns)
    assert rates.counts.sum() == inside.sum()
    assert rates.anomalies == []


def test_a_burst_is_out_of_line():
    even = np.arange(2000) * 50_000_000
    burst = 70 * 10**9 + np.arange(400) * 1_000_000
    counter = RateCounter()
    counter.add(np.sort(np.concatenate([even, burst])).astype(np.int64))
    rates = counter.rates()
    assert [rates.start_ns[one.window] <= 70.2e9 for one in rates.anomalies] == [True]
    assert rates.anomalies[0].score > 5


def test_slots_stay_bounded(monkeypatch):
    monkeypatch.setattr("rdv.analysis.compare.drift.SLOTS_MAX", 100)
    counter = RateCounter()
    counter.add((np.arange(10_000) * 10**9).astype(np.int64))
    assert len(counter._slots) <= 100
    assert sum(counter._slots.values()) == 10_000


def test_the_streamed_agreement_is_that_of_the_arrays(tmp_path):
    def answers(number, chance):
        score = chance.random()
        return {"score": score}, {"score": score + 0.3 * chance.random()}, {"score": 0.1}

    found = study(scored(400, answers), tmp_path)
    whole = agreement_of_scores(found.pairs.first, found.pairs.second)
    assert found.scores == whole
    right = found.pairs.first > 0.5
    assert compare_shares(right, right).only_first == 0


def test_a_model_against_the_canary_itself(tmp_path):
    found = study(drifting(True, False), tmp_path, "gbm", "rules", canary="rules")
    (drift,) = found.drift
    assert (drift.model, drift.peer, drift.cause) == ("gbm", "rules", "model changed")


def test_a_model_that_has_never_answered(tmp_path):
    def answers(number, chance):
        return {"score": 0.5}, None, "behind"

    log = scored(50, answers)
    found = study(log, tmp_path, canary="rules")
    assert (found.both, found.pairs, found.drift) == (0, None, [])
    assert found.second.arrival is None
    assert found.second.errors == 1.0
    assert charts_of(found)
    assert found.as_json()["scores"] is None


def test_the_report_names_the_model_versions(tmp_path):
    log = scored(100, steps)
    for made in log.requests[60:]:
        made.reports[:] = [
            (at_ms, msgspec.structs.replace(score, version="2")) for at_ms, score in made.reports
        ]
    found = study(log, tmp_path)
    assert found.first.versions == {"1": 60, "2": 40}
    assert found.first.version == "2"
    assert any("2 versions" in line for line in found.caveats())


def test_only_the_time_that_is_asked_for(tmp_path):
    begin_ns = 1_700_000_000 * 10**9
    found = study(
        scored(300, steps), tmp_path, since_ns=begin_ns + 10**9, until_ns=begin_ns + 2 * 10**9
    )
    assert found.both == found.requests == 100


def test_batches_add_up(tmp_path, monkeypatch):
    """Many small windows of the join give the same figures as one."""
    compare_module = importlib.import_module("rdv.analysis.compare.study")
    log = scored(400, labels)
    truths = [(n, {"action": "block" if n % 3 == 0 else "pass"}) for n in range(400)]
    whole = study(log, tmp_path, outcomes=truths)
    real = compare_module.Join
    monkeypatch.setattr(compare_module, "Join", lambda *args: real(*args, requests_max=50))
    with Recorded(str(tmp_path)) as recorded:
        parts = compare(recorded, "gbm", "logit")
    assert parts.classes.rate == whole.classes.rate
    assert parts.accuracy == whole.accuracy
    assert parts.first.outcomes == whole.first.outcomes
    assert len(parts.pairs) == 400
    assert (parts.pairs.time_ns == whole.pairs.time_ns).all()


def test_answers_without_a_known_field(tmp_path):
    log = scored(60, lambda number, chance: ({"colour": "red"}, {"colour": "blue"}, 0.1))
    found = study(log, tmp_path)
    assert "name the field that counts (--on)" in " ".join(found.sentences())
    assert "cannot be compared" not in " ".join(study_again(tmp_path, on="colour").sentences())


def study_again(tmp_path, **options):
    with Recorded(str(tmp_path)) as recorded:
        return compare(recorded, "gbm", "logit", **options)


def test_a_model_that_joined_later_is_judged_from_then_on(tmp_path):
    log = scored(300, steps)
    for made in log.requests[:200]:
        made.reports[:] = [report for report in made.reports if report[1].model != "logit"]
    log.requests[250].reports[:] = []
    found = study(log, tmp_path, window_ms=30)
    assert (found.second.before, found.second.asked) == (200, 100)
    assert found.second.silent == pytest.approx(0.01)
    assert found.second.in_window == pytest.approx(0.99)
    assert found.first.before == 0
    assert any("did not run for the first 200" in line for line in found.caveats())


def test_survivors_do_not_lead_unseen(tmp_path):
    """gbm fails on the hard seventh: that is said beside its share of right answers."""

    def answers(number, chance):
        is_hard, truth = number % 7 == 0, "a" if number % 4 else "b"
        hard = None if is_hard else {"action": truth}
        return hard, {"action": "c" if is_hard else truth}, {"action": "a"}

    truths = [(n, "a" if n % 4 else "b") for n in range(700)]
    found = study(scored(700, answers), tmp_path, outcomes=truths)
    said = " ".join(found.sentences())
    assert found.accuracy.requests == 600
    assert "gbm has answered 85.7 % of its requests" in said
    assert "compared on the 600 of both" in said
    assert 'Always saying "a" would be right in 75' in said


def test_a_constant_score_has_no_order(tmp_path):
    found = study(scored(300, lambda n, chance: ({"score": 0.5}, {"score": n}, None)), tmp_path)
    said = " ".join(found.sentences())
    assert "always gives the same score" in said
    assert "nan" not in said
    assert "correlation" not in said
    assert found.as_json()["scores"]["correlation"]["estimate"] is None


@pytest.mark.parametrize("count", [10, 300])
def test_full_agreement_is_no_certainty(count):
    same = np.arange(count) % 2
    for found in (
        agreement_of_classes(same, same).kappa,
        agreement_of_classes(same, np.zeros(count)).kappa,
        agreement_of_scores(np.arange(count), np.arange(count)).correlation,
        agreement_of_scores(np.arange(count), -np.arange(count)).correlation,
    ):
        assert found.high - found.low > 1 / count**2
        assert found.low <= found.estimate <= found.high


def test_the_order_of_the_models_changes_no_verdict(tmp_path):
    """The two write the same values as texts and as numbers."""

    def answers(number, chance):
        right = number % 3
        other = (number + (number % 5 == 0)) % 3
        return {"value": str(right)}, {"value": float(other)}, {"value": right}

    log = scored(300, answers)
    log.write(tmp_path)
    record_outcomes(tmp_path, [(n, n % 3) for n in range(300)])
    with Recorded(str(tmp_path)) as recorded:
        one = compare(recorded, "gbm", "logit", on="value")
        other = compare(recorded, "logit", "gbm", on="value")
    assert one.accuracy.share_first == other.accuracy.share_second == 1.0
    assert one.accuracy.share_second == other.accuracy.share_first == 0.8
    assert one.classes.rate == other.classes.rate


def by_country(number, chance):
    """Return answers: logit is poor where n % 3 is 0, which is what `n` of the data says."""
    right = "a" if chance.random() < 0.5 else "b"
    wrong = "b" if right == "a" else "a"
    poor = number % 3 == 0 and chance.random() < 0.5
    TRUTHS[number] = right
    return {"action": right}, {"action": wrong if poor else right}, {"action": "a"}


TRUTHS: dict[int, str] = {}


@pytest.fixture
def countries(tmp_path):
    log = scored(1_200, by_country, gap_ms=60_000.0)
    for made in log.requests:
        where = {0: "at", 1: "de", 2: "ch"}[made.number % 3]
        data = msgspec.Raw(b'{"n":%d,"place":{"country":"%s"}}' % (made.number, where.encode()))
        made.key = f"user-{made.number // 2}"
        plain = made.message
        made.message = lambda plain=plain, data=data: msgspec.structs.replace(plain(), data=data)
    log.write(tmp_path)
    record_outcomes(tmp_path, list(TRUTHS.items()))
    return tmp_path


def test_segments_by_a_field_of_the_data(countries):
    with Recorded(str(countries)) as recorded:
        found = compare(recorded, "gbm", "logit", by="place.country").segments
    by_name = {one.name: one.contrast for one in found.segments}
    assert set(by_name) == {"at", "de", "ch"}
    assert sum(one.requests for one in by_name.values()) == 1_200
    assert by_name["at"].is_better is True
    assert by_name["de"].is_better is by_name["ch"].is_better is None
    said = " ".join(found.sentences())
    assert "place.country at: gbm is better" in said
    assert "place.country at: the accuracy of logit is" in said
    assert "place.country de: gbm is better" not in said
    # The level is spread over three intervals of each of three segments.
    assert by_name["at"].difference.confidence == pytest.approx(1 - 0.05 / 9)


def test_segments_of_numbers_and_of_time(countries):
    with Recorded(str(countries)) as recorded:
        numbers = compare(recorded, "gbm", "logit", by="n").segments
        days = compare(recorded, "gbm", "logit", by="hour").segments
        with pytest.raises(NoSegment, match="'colour'"):
            compare(recorded, "gbm", "logit", by="colour")
    assert [one.contrast.requests for one in numbers.segments] == [240] * 5
    assert len(days.segments) in (20, 21)
    assert days.segments[-1].name.startswith("2023-11-1")
    assert "nan" not in str(numbers.table()) + str(days.as_json())


def test_segments_that_do_not_differ_raise_no_alarm(tmp_path):
    """In 60 studies of 8 segments each, at most a few claim a difference that there is not."""
    chance = np.random.default_rng(4)
    alarms = 0
    for _ in range(60):
        measure = measure_for(["a"], ["a", "b"])
        truth = chance.integers(0, 2, 800).astype(float)
        first, second = (np.where(chance.random(800) < 0.8, truth, 1 - truth) for _ in range(2))
        keys = np.arange(800).astype(np.uint64)
        whole = contrast_of(measure, ("x", "y"), (first, second), truth, keys)
        level = looks(0.95, 24)[0]
        parts = [
            Segment(
                str(n),
                contrast_of(
                    measure,
                    ("x", "y"),
                    (first[n::8], second[n::8]),
                    truth[n::8],
                    keys[n::8],
                    confidence=level,
                ),
            )
            for n in range(8)
        ]
        alarms += "No segment" not in Segments("n", tuple(parts), whole).sentences()[0]
    assert alarms <= 8
