"""Check .cbm files as models against CatBoost itself, in the environment of MLflow."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import orjson
import pytest

from rdv.models import ModelNotLoaded, evaluate, open_model

TRAIN = """
import json, sys
import catboost, numpy as np, pandas as pd
chance = np.random.default_rng(1)
n = 200
frame = pd.DataFrame({
    "amount": np.where(chance.random(n) < 0.2, np.nan, chance.normal(size=n)),
    "colour": chance.choice(["blue", "grøn", "red"], n),
    "size": chance.integers(0, 3, n),
})
score = frame["amount"].fillna(1) + 2.0 * (frame["colour"] == "red")
same = {"iterations": 8, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
cats = ["colour", "size"]
rows = frame.head(20).copy()
rows.loc[3, "colour"] = "never seen"
found = {"rows": json.loads(rows.to_json(orient="records"))}
def save(name, model, x, *fit, kind="Probability"):
    model.fit(x, *fit)
    model.save_model(name + ".cbm")
    found[name] = model.predict(rows[x.columns], prediction_type=kind).tolist()
two, three = np.where(score > 0.5, "yes", "no"), np.digitize(score, [0, 1]) + 7
save("two", catboost.CatBoostClassifier(cat_features=cats, **same), frame, two)
save("three", catboost.CatBoostClassifier(cat_features=cats, **same), frame, three)
numbers = frame[["amount", "size"]]
save("value", catboost.CatBoostRegressor(**same), numbers, score, kind="RawFormulaVal")
both = np.c_[score > 0.5, score > 1].astype(int)
many = catboost.CatBoostClassifier(loss_function="MultiLogloss", **same)
save("both", many, frame[["amount"]], both)
bare = catboost.CatBoostRegressor(**same).fit(numbers.values, score)
bare.save_model("bare.cbm")
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def trained(peer_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory):
    """Return the folder of the models, CatBoost's own predictions, and its interpreter."""
    place = tmp_path_factory.mktemp("catboost")
    python = peer_python("mlflow")
    done = subprocess.run(
        [python, "-W", "ignore", "-c", TRAIN], cwd=place, check=True, capture_output=True
    )
    return place, json.loads(done.stdout), python


def opened(trained, name, **options):
    place, _, python = trained
    return open_model(str(place), "m", path=f"{name}.cbm", python=python, options=options)


def outcomes(model, rows):
    return evaluate(model, [orjson.dumps(row) for row in rows])


def answers(model, rows):
    return [orjson.loads(outcome) for outcome in outcomes(model, rows)]


@pytest.fixture(scope="module")
def models(trained):
    found = {name: opened(trained, name) for name in ("two", "three", "value", "both", "bare")}
    yield found
    for model in found.values():
        model.close()


@pytest.mark.parametrize("name", ["two", "three", "value", "both"])
def test_a_row_has_the_result_that_catboost_gives_it(trained, models, name):
    _, expected, _ = trained
    found = answers(models[name], expected["rows"])
    for answer, value in zip(found, expected[name], strict=True):
        if name == "two":
            assert answer == {
                "score": pytest.approx(value[1]),
                "label": "yes" if value[1] > 0.5 else "no",
            }
        elif name == "three":
            assert answer["label"] == 7 + value.index(max(value))
            shares = dict(zip(["7", "8", "9"], value, strict=True))
            assert answer["probabilities"] == pytest.approx(shares)
        elif name == "both":
            assert list(answer["probabilities"].values()) == pytest.approx(value)
        else:
            assert answer == {"value": pytest.approx(value)}


def test_rows_may_be_lists_and_null_is_a_missing_number(models):
    as_object = {"amount": None, "colour": "red", "size": 1}
    one, other = answers(models["two"], [as_object]), answers(models["two"], [[None, "red", 1]])
    assert one == other


ROW = {"amount": 1.0, "colour": "red", "size": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "KeyError: 'amount'"),
        ({**ROW, "colour": None}, "ValueError: 'colour': a category is not None"),
        ({**ROW, "colour": 1.5}, "ValueError: 'colour': a category is not 1.5"),
        ({**ROW, "amount": "12"}, "ValueError: 'amount': '12' is not a number"),
        ([1.0, "red"], "ValueError: a row has 2 values, but the model has 3 columns"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_spoils_no_other(models, row, reason):
    good = answers(models["two"], [ROW])
    before, outcome, after = outcomes(models["two"], [ROW, row, ROW])
    assert reason in str(outcome)
    assert [orjson.loads(before), orjson.loads(after)] == good * 2


def test_a_file_without_names_takes_lists_or_the_option_columns(trained, models):
    assert "the option columns" in str(outcomes(models["bare"], [{"amount": 1, "size": 1}])[0])
    named = opened(trained, "bare", columns=["amount", "size"])
    found = answers(named, [{"size": 1, "amount": 0.5}])
    named.close()
    assert found == answers(models["bare"], [[0.5, 1]])


def test_broken_files_are_refused_with_catboost_s_words(trained, tmp_path):
    (tmp_path / "m.cbm").write_bytes(b"CBM1 and no more")
    with pytest.raises(ModelNotLoaded, match="CatBoostError"):
        open_model(str(tmp_path), "m", path="m.cbm", python=trained[2])
