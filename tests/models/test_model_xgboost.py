"""Check XGBoost's files as models against XGBoost itself."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pandas as pd
import pytest
import xgboost
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rdv.models import ModelNotLoaded, open_model

COLOURS, SIZES = ["blue", "green", "red"], [1, 2, 4]
COLUMNS = ["amount", "colour", "size", "is new"]


def frame_of(rows):
    """Return a frame as users build it for XGBoost: with its categories as category columns."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["colour"] = pd.Categorical(frame["colour"], COLOURS)
    frame["size"] = pd.Categorical(frame["size"], SIZES)
    for name in ("amount", "is new"):
        frame[name] = frame[name].astype(float)
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("xgboost")
    chance = np.random.default_rng(1)
    n = 300
    frame = frame_of(
        {
            "amount": np.where(chance.random(n) < 0.2, np.nan, chance.normal(size=n)),
            "colour": chance.choice(COLOURS, n),
            "size": chance.choice(SIZES, n),
            "is new": chance.random(n) < 0.5,
        }
    )
    score = frame["amount"].fillna(1) + 2.0 * (frame["colour"] == "red") - frame["is new"]
    targets = {
        "binary:logistic": score > 0.5,
        "multi:softprob": pd.cut(score, [-9, 0, 1, 9], labels=False),
        "multi:softmax": pd.cut(score, [-9, 0, 1, 9], labels=False),
        "reg:squarederror": score,
        "rank:ndcg": (score > 0.5).astype(int),
        "reg:quantileerror": score,
    }
    more = {"multi": {"num_class": 3}, "reg:quantileerror": {"quantile_alpha": [0.1, 0.9]}}
    for name, y in targets.items():
        data = xgboost.DMatrix(frame, y, enable_categorical=True)
        if name == "rank:ndcg":
            data.set_group([10] * 30)
        settings_ = {"objective": name, "nthread": 1, "max_depth": 3}
        settings_ |= more.get(name, more["multi"] if "multi" in name else {})
        booster = xgboost.train(settings_, data, 6)
        booster.save_model(place / f"{name}.json")
        booster.save_model(place / f"{name}.ubj")
    return place


OBJECTIVES = [
    "binary:logistic", "multi:softprob", "multi:softmax", "reg:squarederror", "rank:ndcg",
    "reg:quantileerror",
]  # fmt: skip


@pytest.fixture(scope="module")
def models(place):
    return {
        name + ending: open_model(str(place), "m", path=name + ending)
        for name in OBJECTIVES
        for ending in (".json", ".ubj")
    }


def answers(model, rows):
    return [orjson.loads(outcome) for outcome in model.predict(rows)]


ROWS = st.fixed_dictionaries(
    {
        "amount": st.none() | st.floats(-3, 3, width=32) | st.integers(-3, 3),
        "colour": st.none() | st.sampled_from(COLOURS),
        "size": st.none() | st.sampled_from(SIZES),
        "is new": st.none() | st.booleans(),
    }
)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(deadline=None, max_examples=15, phases=[Phase.generate])
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_a_row_has_the_result_that_xgboost_gives_it(place, models, name, rows):
    booster = xgboost.Booster({"nthread": 1}, model_file=place / f"{name}.json")
    expected = booster.predict(xgboost.DMatrix(frame_of(rows), enable_categorical=True, nthread=1))
    found = answers(models[f"{name}.json"], rows)
    assert (
        answers(models[f"{name}.ubj"], [[row[name] for name in COLUMNS] for row in rows]) == found
    )
    for row, answer, value in zip(rows, found, expected.tolist(), strict=True):
        assert answers(models[f"{name}.ubj"], [{"other": 1, **row}]) == [answer]
        if name == "multi:softprob":
            assert [*answer["probabilities"].values()] == value
            assert answer["label"] == value.index(max(value))
        elif name == "multi:softmax":
            assert answer == {"label": int(value)}
        elif name == "binary:logistic":
            assert answer == {"score": value, "label": int(value > 0.5)}
        else:
            assert answer == {"value": value}


def test_the_columns_are_those_of_the_file(models):
    assert models["binary:logistic.ubj"].columns == [
        {"name": "amount", "type": "number", "required": True, "nullable": True},
        {"name": "colour", "type": "string", "required": True, "nullable": True,
         "categories": COLOURS},
        {"name": "size", "type": "number", "required": True, "nullable": True, "categories": SIZES},
        {"name": "is new", "type": "number", "required": True, "nullable": True},
    ]  # fmt: skip


ROW = {"amount": 1.0, "colour": "red", "size": 1, "is new": True}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "KeyError: 'amount'"),
        ({key: ROW[key] for key in ROW if key != "colour"}, "KeyError: 'colour'"),
        ({**ROW, "colour": "never seen"}, "ValueError: 'colour': unknown category 'never seen'"),
        ({**ROW, "colour": "AAA"}, "ValueError: 'colour': unknown category 'AAA'"),
        ({**ROW, "size": 3}, "ValueError: 'size': unknown category 3"),
        ({**ROW, "size": "1"}, "ValueError: 'size': unknown category '1'"),
        ({**ROW, "amount": "12"}, "ValueError: 'amount': '12' is not a number"),
        ([1.0, "red", 1], "ValueError: a row has 3 values, but the model has 4 columns"),
        (7, "TypeError: a row is an object or a list, not a int"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_spoils_no_other(models, row, reason):
    model = models["binary:logistic.json"]
    good = answers(model, [ROW])
    before, outcome, after = model.predict([ROW, row, ROW])
    assert str(outcome).startswith(reason)
    assert [orjson.loads(before), orjson.loads(after)] == good * 2


def test_a_number_that_stands_for_missing_is_declared(tmp_path):
    chance = np.random.default_rng(4)
    x = np.where(chance.random((200, 2)) < 0.3, -999.0, chance.normal(size=(200, 2)))
    data = xgboost.DMatrix(
        x, ((x[:, 0] > 0) | (x[:, 0] < -9)).astype(int), missing=-999.0, feature_names=["a", "b"]
    )
    xgboost.train({"objective": "binary:logistic"}, data, 4).save_model(tmp_path / "m.json")
    model = open_model(str(tmp_path), "m", path="m.json", options={"missing": -999})
    one, other = answers(model, [{"a": -999, "b": 1}, {"a": None, "b": 1}])
    assert one == other
    plain = open_model(str(tmp_path), "m", path="m.json")
    assert answers(plain, [{"a": -999, "b": 1}]) != [one]


def test_a_classifier_of_scikit_learn_uses_its_best_iteration(tmp_path):
    chance = np.random.default_rng(5)
    x = chance.normal(size=(200, 3))
    y = (x[:, 0] + chance.normal(size=200) > 0).astype(int)
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=3, n_jobs=1)
    model.fit(x[:100], y[:100], eval_set=[(x[100:], y[100:])], verbose=False)
    assert model.best_iteration < 30
    model.save_model(tmp_path / "m.json")
    found = answers(open_model(str(tmp_path), "m", path="m.json"), x[:5].tolist())
    assert [one["score"] for one in found] == model.predict_proba(x[:5])[:, 1].tolist()


def test_linear_boosters_and_files_without_names(tmp_path):
    x = np.random.default_rng(6).normal(size=(100, 2))
    data = xgboost.DMatrix(x, x[:, 0])
    booster = xgboost.train({"booster": "gblinear"}, data, 3)
    booster.save_model(tmp_path / "m.json")
    model = open_model(str(tmp_path), "m", path="m.json")
    assert [one["value"] for one in answers(model, x.tolist())] == booster.predict(data).tolist()
    assert model.columns is None
    assert "the option columns" in str(model.predict([{"a": 1}])[0])
    named = open_model(str(tmp_path), "m", path="m.json", options={"columns": ["a", "b"]})
    assert answers(named, [{"b": 2, "a": 1}]) == answers(model, [[1, 2]])


def test_a_file_that_has_only_codes_takes_the_categories_of_the_option(place, tmp_path, models):
    """A file of XGBoost before 3.1 has no categories."""
    content = json.loads((place / "binary:logistic.json").read_bytes())
    content["learner"]["gradient_booster"]["model"].pop("cats")
    (tmp_path / "m.json").write_text(json.dumps(content))
    coded = open_model(str(tmp_path), "m", path="m.json")
    expected = answers(models["binary:logistic.json"], [ROW])
    assert answers(coded, [{**ROW, "colour": 2, "size": 0}]) == expected
    assert "'colour': 'red' is not a number" in str(coded.predict([ROW])[0])
    options = {"categories": {"colour": COLOURS, "size": SIZES}}
    named = open_model(str(tmp_path), "m", path="m.json", options=options)
    assert answers(named, [ROW]) == expected


def test_categories_that_xgboost_writes_wrongly_are_asked_for(tmp_path):
    """XGBoost counts characters where pandas' strings have bytes, so the file is cut."""
    chance = np.random.default_rng(7)
    colours = ["blå", "grøn", "rød"]
    frame = pd.DataFrame({"colour": pd.Categorical(chance.choice(colours, 90))})
    data = xgboost.DMatrix(frame, frame["colour"] == "rød", enable_categorical=True)
    xgboost.train({"objective": "binary:logistic"}, data, 3).save_model(tmp_path / "m.json")
    with pytest.raises(ModelNotLoaded, match=r"'colour' .* give them in the option categories"):
        open_model(str(tmp_path), "m", path="m.json")
    options = {"categories": {"colour": colours}}
    model = open_model(str(tmp_path), "m", path="m.json", options=options)
    found = answers(model, [{"colour": one} for one in colours])
    assert [one["label"] for one in found] == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1}', "is not a model of xgboost"),
        ("[1, 2]", "is not a model of xgboost"),
        ("", "is not a model of xgboost"),
        ('{"learner": {}}', "XGBoostError"),
        ('{"learner": {"attributes": {}, "feat', "XGBoostError"),
    ],
)
def test_other_files_and_broken_ones_are_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelNotLoaded, match=reason):
        open_model(str(tmp_path), "m", path="m.json")
