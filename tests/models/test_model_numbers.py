"""Check that rows of plain numbers, which are never parsed into objects, get the same results."""

from __future__ import annotations

import lightgbm
import numpy as np
import orjson
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression

from rdv.models import evaluate, open_model
from rdv.native import NATIVE

NAMES = ["amount", "is_new", "c", "größe"]
X = np.random.default_rng(1).normal(size=(80, 4)).round(3)
CLASSES = np.where(X[:, 0] > 0.5, 2, np.where(X[:, 1] > 0, 1, 0))


def _lightgbm(place, objective, y):
    data = lightgbm.Dataset(X, y, feature_name=NAMES)
    more = {"num_class": 3} if objective == "multiclass" else {}
    options = {"objective": objective, "verbose": -1, "min_data_in_leaf": 3, "num_threads": 1}
    lightgbm.train(options | more, data, 3).save_model(place)


def _xgboost(place, objective, y):
    data = xgboost.DMatrix(X, y, feature_names=NAMES)
    more = {"num_class": 3} if objective == "multi:softprob" else {}
    xgboost.train({"objective": objective, "nthread": 1} | more, data, 3).save_model(place)


def _onnx(place, model, y, *, zipmap=False, **options):
    fitted = model.fit(X.astype(np.float32), y)
    chosen = None if model.__class__ is LinearRegression else {id(fitted): {"zipmap": zipmap}}
    content = to_onnx(fitted, X[:1].astype(np.float32), options=chosen)
    place.write_bytes(content.SerializeToString())
    return options


MAKE = {
    "binary.txt": lambda place: _lightgbm(place, "binary", CLASSES > 0),
    "multiclass.txt": lambda place: _lightgbm(place, "multiclass", CLASSES),
    "regression.txt": lambda place: _lightgbm(place, "regression", X[:, 0]),
    "binary.ubj": lambda place: _xgboost(place, "binary:logistic", CLASSES > 0),
    "softprob.ubj": lambda place: _xgboost(place, "multi:softprob", CLASSES),
    "regression.json": lambda place: _xgboost(place, "reg:squarederror", X[:, 0]),
    "classes.onnx": lambda place: _onnx(place, LogisticRegression(), CLASSES, columns=NAMES),
    "zipmap.onnx": lambda place: _onnx(
        place, LogisticRegression(), CLASSES > 0, zipmap=True, columns=NAMES
    ),
    "value.onnx": lambda place: _onnx(place, LinearRegression(), X[:, 0]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("numbers")
    found = {}
    for name, make in MAKE.items():
        options = make(place / name) or {}
        for absent in ("error", "null"):
            settings_ = options | {"absent": absent}
            found[name, absent] = open_model(str(place), "m", path=name, options=settings_)
    yield found
    for model in found.values():
        model.close()


cells = (
    st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-9, 9)
    | st.sampled_from([None, True, False, 2**63, 10**17 + 1])
)
odd = st.sampled_from(["", "12", [], [1.5], {}, "größe"])


@st.composite
def rows(draw):
    """Return a row as JSON; a few have what is no number, or too few fields."""
    value = cells | odd if draw(st.integers(0, 5)) == 0 else cells
    values = [draw(value) for _ in NAMES]
    if draw(st.integers(0, 3)) == 0:
        return orjson.dumps(values[: draw(st.integers(3, 4))])
    names = draw(st.permutations(NAMES)) if draw(st.booleans()) else NAMES
    row = dict(zip(names, values, strict=True))
    if draw(st.integers(0, 9)) == 0:
        del row[draw(st.sampled_from(NAMES))]
    if draw(st.booleans()):
        row["id"] = draw(cells | odd)
    return orjson.dumps(row, option=draw(st.sampled_from([0, orjson.OPT_INDENT_2])))


def parsed(model, texts):
    """Return what the model makes of the rows as objects."""
    again = lambda number: orjson.loads(texts[number])  # noqa: E731
    return model.predict([orjson.loads(text) for text in texts], again)


@settings(derandomize=True, deadline=None, max_examples=12, database=None)
@given(texts=st.lists(rows(), min_size=1, max_size=5), absent=st.sampled_from(["error", "null"]))
def test_all_rows_get_the_results_that_they_get_as_objects(models, texts, absent):
    for (_, options), model in models.items():
        if options == absent:
            assert evaluate(model, texts) == parsed(model, texts)


@pytest.mark.parametrize("name", MAKE)
def test_plain_rows_are_never_made_into_objects(models, name, monkeypatch):
    if NATIVE is None:
        pytest.skip("only the C extension reads rows without objects")
    model = models[name, "error"]
    rows = X[:9].tolist()
    texts = [orjson.dumps(dict(zip(NAMES, row, strict=True))) for row in rows]
    if name == "value.onnx":  # it has no names of columns
        texts = [orjson.dumps(row) for row in rows]
    expected = parsed(model, texts)
    assert all(type(one) is bytes for one in expected)
    monkeypatch.setattr(model._loaded, "predict", None)
    assert evaluate(model, texts) == expected


@pytest.mark.parametrize("categories", [["low", "high"], [0, 1]], ids=["texts", "codes"])
def test_columns_with_categories_are_read_as_objects(tmp_path, categories):
    """A number in such a column is not the code of a category."""
    import pandas as pd

    frame = pd.DataFrame(
        {"x": X[:, 0], "level": pd.Categorical.from_codes(CLASSES % 2, categories)}
    )
    options = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 3, "num_threads": 1}
    lightgbm.train(options, lightgbm.Dataset(frame, X[:, 1] > 0), 3).save_model(tmp_path / "m.txt")
    model = open_model(str(tmp_path), "m", path="m.txt")
    texts = [orjson.dumps({"x": 0.5, "level": value}) for value in (*categories, 0, 1, 7, None)]
    assert evaluate(model, texts) == parsed(model, texts)
    assert model.predict_texts(texts) is None


def test_what_the_model_raises_is_reported_for_each_row(tmp_path):
    """An adapter whose `predict_numbers` fails answers by `predict`, row by row."""
    _lightgbm(tmp_path / "m.txt", "binary", CLASSES > 0)
    model = open_model(str(tmp_path), "m", path="m.txt")
    texts = [orjson.dumps(row) for row in X[:3].tolist()]
    expected = parsed(model, texts)

    def fails(x):
        raise MemoryError

    model._loaded.predict_numbers = fails
    assert [one.cause for one in evaluate(model, texts)] == ["memory"] * 3
    del model._loaded.predict_numbers
    assert evaluate(model, texts) == expected
