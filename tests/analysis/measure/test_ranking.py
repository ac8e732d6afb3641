"""Rankings as a type of outcome: through every command, against scikit-learn and brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compare_kit import record_outcomes, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.__main__ import main
from rdv.analysis.dataset.reading import infer, items_of
from rdv.analysis.measure.choose import measure_for
from rdv.decision.outcome import Outcome
from rdv.decision.template import load_template

COUNT, ITEMS = 400, 30
SCHEDULE = """
sla_ms = 50
default = { items = [] }
[[step]]
accept = ["%s"]
"""
MODEL = """
def predict(rows):
    return [{"items": [{"id": (row["n"] * 7 + k) % 30} for k in range(10)]} for row in rows]
"""


def items(first, count=10):
    return {"items": [{"id": (first + k) % ITEMS, "score": 1 - k / 10} for k in range(count)]}


def answers(number, chance):
    """gbm has the right item first, logit in one of ten places or nowhere, rules nothing."""
    return items(number * 7), items(number * 7 - chance.randrange(0, 20)), {"items": []}


def bought(number):
    """Return what was right: as ids, texts, graded, in an object, or nothing."""
    best = number * 7 % ITEMS
    forms = [best], [str(best)], {str(best): 2.0}, {"bought": [best]}, best, []
    return forms[number % 6]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ranking") / "shop"
    (directory / "schedules").mkdir(parents=True)
    (directory / "models").mkdir()
    (directory / "models" / "new.py").write_text(MODEL)
    settings = '[models.gbm]\npath = "models/new.py"\n[models.logit]\npath = "models/new.py"\n'
    settings += '[outcome]\ntype = "ranking"\nanswer = "items"\n[gate]\njudged_min = 50\n'
    (directory / "rdv.toml").write_text(settings)
    for name, model in (("production", "logit"), ("better", "gbm")):
        (directory / "schedules" / f"{name}.toml").write_text(SCHEDULE % model)
    log = scored(COUNT, answers, arrive_ms=(1.0, 2.0, 3.0))
    log.schedules = {"production": _schedule("logit")}
    log.write(directory)
    record_outcomes(directory, [(n, bought(n)) for n in range(COUNT)])
    return directory


def _schedule(model):
    from rdv.rendezvous.schedule import schedule_from_toml

    return schedule_from_toml(SCHEDULE % model, "production", "production.toml")


@pytest.fixture
def run(capfd):
    def call(*words):
        capfd.readouterr()
        code = main([*map(str, words), "--json"])
        return code, capfd.readouterr()

    return call


NOTHING = len([n for n in range(COUNT) if n % 6 == 5])
PERFECT = 1 - NOTHING / COUNT
"""A request in which nothing was right counts 0."""


@pytest.mark.parametrize("metric", [None, "ndcg@10", "hit-rate@1", "mrr", "precision@k=1"])
def test_compare(run, shop, metric):
    more = () if metric is None else ("--metric", metric)
    code, (out, err) = run("compare", shop, "gbm", "logit", *more)
    assert code == 0, err
    found = json.loads(out)["metric"]
    assert found["name"] == {None: "ndcg@10", "precision@k=1": "list-precision@1"}.get(
        metric, metric
    )
    assert found["gbm"]["value"] == pytest.approx(PERFECT)
    assert 0 < found["logit"]["value"] < found["gbm"]["value"]
    assert found["difference"]["low"] > 0
    assert json.loads(out)["drift"] == []


def test_compare_in_words(capfd, shop):
    assert main(["compare", str(shop), "gbm", "rules"]) == 0
    out = capfd.readouterr().out
    assert "NDCG@10 on 400 requests with a known outcome: gbm" in out
    assert "nan" not in out


def test_whatif(run, shop):
    code, (out, err) = run("whatif", shop, "--schedule", "better")
    assert code == 0, err
    found = json.loads(out)["metric"]
    assert found["name"] == "ndcg@10"
    assert found["what_if"]["value"] == pytest.approx(PERFECT)
    assert found["difference"]["low"] > 0


@pytest.mark.parametrize("metric", [None, "hit-rate@1"])
def test_optimise(run, shop, metric):
    more = () if metric is None else ("--metric", metric)
    code, (out, err) = run("optimise", shop, *more)
    assert code == 0, err
    found = json.loads(out)
    assert found["metric"] == (metric or "ndcg@10")
    assert found["chosen"]["schedule"]["step"][0]["accept"][0] == "gbm"
    assert found["chosen"]["gain_low"] > 0


def test_replay(run, shop):
    code, (out, err) = run("replay", shop, "--name", "gbm", "--metric", "ndcg@10")
    assert code == 0, err
    against = {one["against"]: one for one in json.loads(out)["comparison"]["against"]}
    assert against["gbm"]["metric"]["difference"]["value"] == 0
    assert against["logit"]["metric"]["difference"]["low"] > 0


def test_regress(run, shop):
    code, (out, err) = run(
        "regress", shop, "--schedule", "better", "--value-loss", "0", "--against", "9000d"
    )
    assert code == 0, err
    assert "ndcg@10" in out
    assert json.loads(out.splitlines()[0]) is not None


def test_ab_and_promote(run, shop):
    code, (out, err) = run("promote", shop, "gbm")
    assert "NDCG@10" in out + err
    assert code in (0, 1, 99)
    found = json.loads(out)
    assert "nan" not in out.lower()
    assert any("NDCG@10" in json.dumps(one) for one in found["checks"])


def test_the_templates_declare_it():
    for name, metric in (("recommend", "ndcg@10"), ("ads", "hit-rate@10")):
        outcome = load_template(name)[0].outcome
        assert (outcome.type, outcome.metric) == ("ranking", metric)


LISTS = [{"items": [1, 2, 3]}, {"items": [4, 5]}]


@pytest.mark.parametrize(
    ("truths", "kind"),
    [
        ([[1], [5, 2]], "ranking"),
        ([{"likes": [1]}], "ranking"),
        ([{"1": 3.0, "2": 1.0}], "ranking"),
        ([1, 4], "ranking"),
        (["5"], "ranking"),
        ([], "ranking"),
        ([0.0, 0.0, 0.0], "class"),
    ],
)
def test_rankings_are_inferred(truths, kind):
    assert infer(LISTS, truths, Outcome()).kind == kind


@pytest.mark.parametrize(
    ("answers", "truths"),
    [
        ([{"score": 1.0}], [[1]]),
        (LISTS, [0, 0]),
        (LISTS, [None, None]),
        (LISTS, [{"a": "b"}]),
        (LISTS, [{"1": -1.0}]),
        (LISTS, [[f"song-{n}"] for n in range(40)]),
    ],
)
def test_what_is_no_ranking_says_why(answers, truths):
    measure = measure_for(answers, truths, Outcome(type="ranking", answer="items"))
    assert measure.problem
    assert "nan" not in measure.problem


def test_another_metric_of_rankings_is_refused():
    found = measure_for(LISTS, [[1]], name="roc-auc")
    assert "roc-auc is no metric of rankings" in found.problem


def test_what_means_the_same_item_is_the_same():
    assert items_of([1, "2", 3.0]) == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert items_of([{"id": 4, "gain": 2}, {"item_id": "5"}]) == {"4": 2.0, "5": 1.0}
    assert items_of({"6": 0.5}) == {"6": 0.5}
    assert items_of([]) == {}
    assert items_of(None) is items_of({"a": None}) is None


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.data())
def test_each_metric_equals_its_definition(data):
    names = st.integers(0, 8)
    answer = data.draw(st.lists(names, max_size=6, unique=True))
    gains = data.draw(st.dictionaries(names, st.sampled_from([0.0, 1.0, 2.0]), max_size=5))
    k = data.draw(st.integers(1, 7))
    right = [place for place, item in enumerate(answer) if gains.get(item, 0) > 0]
    log2 = np.log2(np.arange(2, 2 + 20))
    best = sum(sorted(gains.values(), reverse=True)[:k] / log2[: min(k, len(gains))])
    dcg = sum(gains.get(item, 0) / log2[place] for place, item in enumerate(answer[:k]))
    expected = {
        f"ndcg@{k}": dcg / best if best else 0.0,
        f"hit-rate@{k}": float(any(place < k for place in right)),
        f"list-precision@{k}": sum(place < k for place in right) / k,
        f"mrr@{k}": next((1 / (1 + place) for place in right if place < k), 0.0),
        "mrr": next((1 / (1 + place) for place in right), 0.0),
    }
    given_truth = {str(item): gain for item, gain in gains.items()}
    for name, value in expected.items():
        measure = measure_for(
            [{"items": answer}], [given_truth], Outcome(type="ranking"), None, name
        )
        code = measure.extract.of_answer({"items": answer})
        found = measure.of_pair(code, measure.extract.of_truth(given_truth))
        assert found == pytest.approx(value), name
