"""Check that a watched champion is rolled back for what it answers, and not by chance."""

from __future__ import annotations

import json
import random

import pytest
from compare_kit import record_outcomes, scored

from rdv.analysis.compare import compare
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.promote import behaviour
from rdv.analysis.promote.behaviour import Behaviour, Expected
from rdv.analysis.promote.study import bounds_of
from rdv.analysis.promote.watch import WatchPeriod
from rdv.decision import Gate


def score(truth, quality, chance):
    """Return a score that tends to be high where the truth is 1."""
    return min(1.0, max(0.0, 0.25 + 0.5 * truth + chance.gauss(0, 1 - quality)))


def by_score(number, chance):
    truth = int(chance.random() < 0.3)
    return {"score": score(truth, 0.7, chance)}, {"score": score(truth, 0.8, chance)}, truth


def by_class(number, chance):
    truth = chance.choice("abc")
    first, second = (truth if chance.random() < p else chance.choice("abc") for p in (0.8, 0.9))
    return {"label": first}, {"label": second}, truth


def by_number(number, chance):
    truth = chance.gauss(100, 30)
    return (
        {"score": truth + chance.gauss(0, 5)},
        {"score": truth + chance.gauss(0, 4)},
        truth,
    )


def inverted(answer):
    if "label" in answer:
        return {"label": {"a": "b", "b": "c", "c": "a"}[answer["label"]]}
    value = answer["score"]
    return {"score": 1 - value if 0 <= value <= 1 else -value}


CHANGES = {
    "inverted": inverted,
    "middle": lambda answer: {key: "b" if key == "label" else 0.4 for key in answer},
    "constant": lambda answer: {key: "a" if key == "label" else 0 for key in answer},
}


def watched(tmp_path, answers, change, count=2000, tell=True):
    """Compare both on a log; then feed answers of the same kind, the new champion's changed."""
    directory = tmp_path / "fraud"
    directory.mkdir()
    log = scored(3000, lambda n, chance: (*answers(n, chance)[:2], None))
    log.write(directory)
    chance = random.Random(7)
    record_outcomes(directory, [(one.number, truths(one, answers, chance)) for one in log.requests])
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit")
    expected = Expected.of(found, None)
    period = WatchPeriod(bounds_of(found, Gate(), expected))
    follower = Behaviour(expected, "gbm", "logit")
    for number in range(count):
        first, second, truth = answers(number, chance)
        second = change(second)
        name = f"w{number}"
        facts = [
            *follower.score("gbm", name, json.dumps(first).encode()),
            *follower.score("logit", name, json.dumps(second).encode()),
            *(follower.truth(name, json.dumps(truth).encode()) if tell else ()),
        ]
        for fact in facts:
            period.note(fact)
        if breaches := period.breaches():
            return number, {one.kind for one in breaches}
    return None, set()


def truths(request, answers, chance):
    """Return an outcome of the same vocabulary."""
    return answers(request.number, chance)[2]


ANSWERS = {"score": by_score, "class": by_class, "number": by_number}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_changed_answers_are_seen_soon(tmp_path, answers, change):
    at, kinds = watched(tmp_path, answers, change)
    assert at is not None
    assert at < 300
    assert kinds <= {"disagreements", "low_scores", "middle_scores", "high_scores", "worse"}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_a_champion_as_good_as_when_it_was_judged_stays(tmp_path, answers):
    assert watched(tmp_path, answers, lambda answer: answer) == (None, set())


def test_outcomes_alone_show_a_champion_that_is_worse(tmp_path):
    """Its classes differ no more often than before, but now it is wrong where they differ."""
    directory = tmp_path / "one"
    directory.mkdir()

    def answers(number, chance):
        truth = chance.choice("abc")
        first, second = (truth if chance.random() < p else chance.choice("abc") for p in (0.5, 0.9))
        return {"label": first}, {"label": second}, truth

    def worse(number, chance):
        first, second, truth = answers(number, chance)
        return second, first, truth

    log = scored(3000, lambda n, chance: (*answers(n, chance)[:2], None))
    log.write(directory)
    record_outcomes(directory, [(one.number, "abc"[one.number % 3]) for one in log.requests])
    with Recorded(str(directory)) as recorded:
        found = compare(recorded, "gbm", "logit")
    expected = Expected.of(found, None)
    period = WatchPeriod(bounds_of(found, Gate(), expected))
    follower = Behaviour(expected, "gbm", "logit")
    chance = random.Random(3)
    for number in range(2000):
        first, second, truth = worse(number, chance)
        for model, answer in (("gbm", first), ("logit", second)):
            for fact in follower.score(model, str(number), json.dumps(answer).encode()):
                period.note(fact)
        for fact in follower.truth(str(number), json.dumps(truth).encode()):
            period.note(fact)
    assert {one.kind for one in period.breaches()} == {"worse"}


def test_what_waits_for_the_other_score_is_bounded(monkeypatch):
    monkeypatch.setattr(behaviour, "IDS_MAX", 10)
    from rdv.analysis.dataset.reading import Reading

    follower = Behaviour(Expected(Reading("class")), "a", "b")
    for number in range(100):
        assert list(follower.score("a", str(number), b'"x"')) == []
        list(follower.score("a", f"both-{number}", b'"x"'))
        list(follower.score("b", f"both-{number}", b'"x"'))
    assert max(len(follower._open), len(follower._both)) == 10


def test_facts_have_the_key_of_the_request_that_they_are_about():
    from rdv.analysis.dataset.reading import Reading

    keys = behaviour.KeysOf()
    assert keys.add(b'{"v":1,"id":"r1","key":"user","data":{"key":"other"}}') == "r1"
    assert keys.add(b'{"v":1,"id":"r2","data":[1]}') == "r2"
    assert keys.add(b"garbage") is None
    assert keys.of("r1") == keys.of("r1") is not None
    assert keys.of("r2") is None
    assert "r2" in keys
    assert "r3" not in keys
    follower = Behaviour(Expected(Reading("class")), "a", "b")
    list(follower.score("a", "r1", b'"x"', keys.of("r1")))
    facts = list(follower.score("b", "r1", b'"y"', keys.of("r1")))
    facts += follower.truth("r1", b'"x"')
    assert [one.of for one in facts] == ["pairs", "differing", "judged"]
    assert {one.unit for one in facts} == {keys.of("r1")}


def test_the_keys_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(behaviour, "IDS_MAX", 10)
    keys = behaviour.KeysOf()
    for number in range(100):
        keys.add(b'{"id":"r%d","key":"k"}' % number)
    assert len(keys._units) == 10
    assert "r99" in keys
