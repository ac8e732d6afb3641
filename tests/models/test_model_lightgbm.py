"""Check LightGBM's files as models against LightGBM itself."""

from __future__ import annotations

import json

import lightgbm
import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rdv.models import ModelNotLoaded, open_model

COLOURS, SIZES = ["blue", "green", "red"], [1, 2, 4]
COLUMNS = ["amount", "colour", "size", "is new"]


def frame_of(rows):
    """Return a frame as users build it for LightGBM: with its categories as category columns."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for name in ("colour", "size"):
        frame[name] = frame[name].astype("category")
    for name in ("amount", "is new"):
        frame[name] = frame[name].astype(float)
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("lightgbm")
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
        "binary": score > 0.5,
        "multiclass": pd.cut(score, [-9, 0, 1, 9], labels=False),
        "regression": score,
        "lambdarank": (score > 0.5).astype(int),
        "zero_as_missing": score > 0.5,
    }
    for name, y in targets.items():
        settings_ = {"objective": name, "verbose": -1, "min_data_in_leaf": 3, "num_threads": 1}
        settings_ |= {"cat_smooth": 1, "min_data_per_group": 3}
        if name == "multiclass":
            settings_["num_class"] = 3
        if name == "zero_as_missing":
            settings_ |= {"objective": "binary", "zero_as_missing": True}
        data = lightgbm.Dataset(frame, y, group=[10] * 30 if name == "lambdarank" else None)
        lightgbm.train(settings_, data, 8).save_model(place / f"{name}.txt")
    return place


OBJECTIVES = ["binary", "multiclass", "regression", "lambdarank", "zero_as_missing"]


@pytest.fixture(scope="module")
def models(place):
    return {name: open_model(str(place), "m", path=f"{name}.txt") for name in OBJECTIVES}


def answers(model, rows):
    return [orjson.loads(outcome) for outcome in model.predict(rows)]


ROWS = st.fixed_dictionaries(
    {
        "amount": st.none() | st.floats(-3, 3) | st.integers(-3, 3),
        "colour": st.none() | st.sampled_from([*COLOURS, "never seen"]),
        "size": st.none() | st.sampled_from([*SIZES, 3]),
        "is new": st.none() | st.booleans(),
    }
)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(deadline=None, max_examples=20, phases=[Phase.generate])
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_a_row_has_the_result_that_lightgbm_gives_it(place, models, name, rows):
    expected = lightgbm.Booster(model_file=place / f"{name}.txt").predict(
        frame_of(rows), num_threads=1
    )
    found = answers(models[name], rows)
    assert found == answers(models[name], [[row[name] for name in COLUMNS] for row in rows])
    for row, answer, value in zip(rows, found, expected, strict=True):
        assert answers(models[name], [{"other": 1, **row}]) == [answer]
        if name == "multiclass":
            assert [*answer["probabilities"].values()] == value.tolist()
            assert answer["label"] == int(value.argmax())
        elif name in ("binary", "zero_as_missing"):
            assert answer == {"score": value, "label": int(value > 0.5)}
        else:
            assert answer == {"value": value}


def test_the_columns_are_those_of_the_file(models):
    assert models["binary"].columns == [
        {"name": "amount", "type": "number", "required": True, "nullable": True},
        {"name": "colour", "type": "string", "required": True, "nullable": True,
         "categories": COLOURS},
        {"name": "size", "type": "number", "required": True, "nullable": True, "categories": SIZES},
        {"name": "is_new", "type": "number", "required": True, "nullable": True},
    ]  # fmt: skip


ROW = {"amount": 1.0, "colour": "red", "size": 1, "is new": True}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "KeyError: 'amount'"),
        ({key: ROW[key] for key in ROW if key != "colour"}, "KeyError: 'colour'"),
        ({**ROW, "amount": "12"}, "ValueError: 'amount': '12' is not a number"),
        ({**ROW, "amount": [1]}, "ValueError: 'amount': [1] is not a number"),
        ({**ROW, "amount": 10**400}, "OverflowError: "),
        ({**ROW, "colour": ["red"]}, "TypeError: unhashable type: 'list'"),
        ([1.0, "red", 1], "ValueError: a row has 3 values, but the model has 4 columns"),
        ([1.0, "red", 1, 0, 0], "ValueError: a row has 5 values, but the model has 4 columns"),
        ("red", "TypeError: a row is an object or a list, not a str"),
        (None, "TypeError: a row is an object or a list, not a NoneType"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_spoils_no_other(models, row, reason):
    good = answers(models["binary"], [ROW])
    before, outcome, after = models["binary"].predict([ROW, row, ROW])
    assert str(outcome).startswith(reason)
    assert [orjson.loads(before), orjson.loads(after)] == good * 2


def test_absent_fields_are_missing_values_where_that_is_declared(place, models):
    model = open_model(str(place), "m", path="binary.txt", options={"absent": "null"})
    nulls = dict.fromkeys(ROW)
    assert answers(model, [{}, ROW]) == answers(models["binary"], [nulls, ROW])
    assert [column["required"] for column in model.columns] == [False] * 4


def test_labels_are_those_of_the_option(place):
    options = {"labels": ["no", "yes"]}
    model = open_model(str(place), "m", path="binary.txt", options=options)
    assert answers(model, [ROW])[0]["label"] == "yes"
    with pytest.raises(ModelNotLoaded, match="labels has to be a list of 3 names"):
        open_model(str(place), "m", path="multiclass.txt", options=options)


def test_a_file_without_names_takes_those_of_the_option_columns(tmp_path):
    x = np.random.default_rng(2).normal(size=(100, 2))
    data = lightgbm.Dataset(x, x[:, 0])
    lightgbm.train({"verbose": -1}, data, 3).save_model(tmp_path / "m.txt")
    model = open_model(str(tmp_path), "m", path="m.txt", options={"columns": ["a", "b"]})
    assert answers(model, [{"b": 1, "a": 2}]) == answers(model, [[2, 1]])
    with pytest.raises(ModelNotLoaded, match="columns has to be a list of 2 names"):
        open_model(str(tmp_path), "m", path="m.txt", options={"columns": ["a"]})


def test_pandas_columns_that_the_file_does_not_name_are_asked_for(tmp_path):
    chance = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "x": chance.normal(size=100),
            "grade": pd.Categorical(
                chance.choice(["low", "high"], 100), ["low", "high"], ordered=True
            ),
            "colour": pd.Categorical(chance.choice(COLOURS, 100)),
        }
    )
    data = lightgbm.Dataset(frame, frame["x"] + (frame["grade"] == "high"))
    booster = lightgbm.train({"verbose": -1, "min_data_in_leaf": 3}, data, 3)
    booster.save_model(tmp_path / "m.txt")
    with pytest.raises(ModelNotLoaded, match="name them in order in the option categorical"):
        open_model(str(tmp_path), "m", path="m.txt")
    options = {"categorical": ["grade", "colour"]}
    model = open_model(str(tmp_path), "m", path="m.txt", options=options)
    found = answers(model, orjson.loads(frame.head(9).to_json(orient="records")))
    assert [one["value"] for one in found] == booster.predict(frame.head(9)).tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a list of words\n", "is not a model of lightgbm"),
        ("", "is not a model of lightgbm"),
        ("tree\nversion=v4\nnum_class=1\n", "LightGBMError"),
        ("tree\nversion=v4\nnum_class=nonsense\nTree=0\n", "LightGBMError"),
    ],
)
def test_other_files_and_broken_ones_are_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(ModelNotLoaded, match=reason):
        open_model(str(tmp_path), "m", path="m.txt")


def test_the_version_changes_with_the_file(place, tmp_path):
    versions = set()
    for name in ("binary", "regression"):
        (tmp_path / "m.txt").write_bytes((place / f"{name}.txt").read_bytes())
        versions.add(open_model(str(tmp_path), "m", path="m.txt").version)
    assert len(versions) == 2
    assert all(len(version) == 12 for version in versions)


def test_a_row_given_as_text_is_the_same(models):
    """A row that the proxy has parsed from JSON has no other types than these."""
    assert answers(models["binary"], [json.loads(json.dumps(ROW))]) == answers(
        models["binary"], [ROW]
    )
