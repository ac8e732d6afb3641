"""Check that an MLflow folder becomes a model, without MLflow where its flavour is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from rdv.models import ModelError, ModelNotLoaded, open_model
from rdv.models.adapters import mlflow as adapter

# As MLflow 3.17 writes it.
MLMODEL = """\
artifact_path: mlflow-artifacts:/0/models/m-1/artifacts
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: {code}
    pickled_model: {file}
    serialization_format: cloudpickle
    sklearn_version: {made_by}
mlflow_version: 3.17.2
model_uuid: m-1
signature:
  inputs: '{inputs}'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "int64", "shape": [-1]}}}}]'
  params: null
"""
INPUTS = [
    {"type": "double", "name": "amount", "required": True},
    {"type": "long", "name": "count", "required": True},
]


def folder(place: Path, estimator: object, inputs: object = None, **fields: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    joblib.dump(estimator, place / "model.pkl")
    values = {"code": "null", "file": "model.pkl", "made_by": "1.9.1", **fields}
    text = MLMODEL.format(inputs=json.dumps(INPUTS if inputs is None else inputs), **values)
    (place / "MLmodel").write_text(text)
    return place


@pytest.fixture(scope="module")
def classifier() -> LogisticRegression:
    x = pd.DataFrame({"amount": np.arange(40.0) % 10, "count": np.arange(40) % 3})
    return LogisticRegression().fit(x, (x.amount > 4).astype(int))


def predict(decision: Path, *rows: object, path: str = "fraud", **settings: object) -> list:
    model = open_model(str(decision), "gbm", path=path, **settings)
    try:
        return model.predict(list(rows))
    finally:
        model.close()


def test_a_classifier_gives_its_probability(tmp_path, classifier):
    folder(tmp_path / "fraud", classifier)
    low, high = map(json.loads, predict(tmp_path, {"amount": 1, "count": 1}, [9, 2]))
    assert low["label"] == 0
    assert low["score"] < 0.5 < high["score"]
    assert high["label"] == 1
    row = pd.DataFrame([[9, 2]], columns=["amount", "count"])
    assert high["score"] == pytest.approx(classifier.predict_proba(row)[0, 1])


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS[::-1]], ids=["same", "turned"])
def test_a_model_without_names_takes_the_columns_in_the_order_of_the_signature(tmp_path, inputs):
    values = np.arange(40.0).reshape(20, 2) % 7
    model = LinearRegression().fit(values, values[:, 0] * 10 + values[:, 1])
    folder(tmp_path / "fraud", model, inputs)
    (found,) = predict(tmp_path, {"count": 2, "amount": 5, "more": 1})
    expected = 52 if inputs == INPUTS else 25
    assert json.loads(found) == {"value": pytest.approx(expected)}


def test_text_beside_numbers_leaves_them_numbers(tmp_path):
    rows = np.array([["a", 1.0], ["b", 2.0], ["a", 3.0]], object)
    columns = ColumnTransformer([("text", OneHotEncoder(), [0])], remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeRegressor()).fit(rows, [1.0, 2.0, 3.0])
    shop = {"type": "string", "name": "shop", "required": True}
    folder(tmp_path / "fraud", model, [shop, INPUTS[0]])
    found = predict(tmp_path, {"shop": "b", "amount": 2}, ["a", 3])
    assert [json.loads(one) for one in found] == [{"value": 2.0}, {"value": 3.0}]


def test_the_columns_are_those_of_the_signature(tmp_path, classifier):
    optional = {"type": "string", "name": "shop", "required": False}
    folder(tmp_path / "fraud", classifier, [*INPUTS, optional])
    model = open_model(str(tmp_path), "gbm", path="fraud")
    assert [(one["name"], one["type"], one["required"]) for one in model.columns] == [
        ("amount", "number", True),
        ("count", "integer", True),
        ("shop", "string", False),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"amount": 1.5}, "KeyError: \"the model's signature requires 'count'\""),
        ({"amount": "x", "count": 1}, "TypeError: column 'amount' (double): \"x\" is not a number"),
        ({"amount": 1, "count": 1.5}, "TypeError: column 'count' (long): 1.5 is not an integer"),
        ({"amount": 1, "count": None}, "TypeError: column 'count' (long): null is not an integer"),
        ({"amount": True, "count": 1}, "TypeError: column 'amount' (double): true is not a number"),
        ({"amount": 1, "count": 2**70}, "TypeError: column 'count' (long): a value is too large"),
        ([1], "TypeError: a row has 1 values, the signature 2 columns"),
        ("text", "TypeError: a row is an object with the model's columns, not a str"),
    ],
)
def test_a_row_that_does_not_fit_the_signature_is_refused_alone(tmp_path, classifier, row, reason):
    folder(tmp_path / "fraud", classifier)
    bad, good = predict(tmp_path, row, {"amount": 1.5, "count": 1, "more": "is left out"})
    assert isinstance(bad, ModelError)
    assert bad.reason == reason
    assert json.loads(good)["label"] == 0


def test_a_missing_number_is_nan_as_mlflow_means_it(tmp_path):
    class Missing(LinearRegression):
        pass

    x = pd.DataFrame({"amount": [1.0, 2.0], "count": [1, 2]})
    signature = adapter.Signature({"inputs": json.dumps(INPUTS)})
    (row,) = signature.rows([{"amount": None, "count": 3}])
    assert np.isnan(row["amount"])
    folder(tmp_path / "fraud", LinearRegression().fit(x, [1.0, 2.0]))
    (found,) = predict(tmp_path, {"amount": 3.0, "count": 3})
    assert json.loads(found)["value"] == pytest.approx(3.0)


def test_modules_that_the_folder_brings_along_are_importable(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = tmp_path / "fraud" / "code"
    code.mkdir(parents=True)
    (code / "shop_features.py").write_text(
        "class Model:\n    def predict(self, x):\n        import numpy\n"
        "        return numpy.ones(len(x))\n"
    )
    sys.path.insert(0, str(code))
    import shop_features  # type: ignore[import-not-found]

    folder(tmp_path / "fraud", shop_features.Model(), [], code="code")
    sys.path.remove(str(code))
    del sys.modules["shop_features"]
    assert predict(tmp_path, [1, 2]) == [b'{"value":1.0}']
    sys.modules.pop("shop_features", None)


def test_another_version_of_the_library_is_noted(tmp_path, classifier):
    folder(tmp_path / "fraud", classifier, made_by="0.24.0")
    model = open_model(str(tmp_path), "gbm", path="fraud")
    assert any("made by scikit-learn 0.24.0" in note for note in model.notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file": "../outside.pkl"}, "is outside of the folder"),
        ({"file": "gone.pkl"}, "gone.pkl"),
        ({"inputs": [{"type": "long"}, "x"]}, "rdv"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path, classifier, change, reason
):
    if "inputs" in change:
        folder(tmp_path / "fraud", classifier)
        (tmp_path / "fraud" / "MLmodel").write_text("flavors: [")
        reason = "MLmodel cannot be read"
    else:
        folder(tmp_path / "fraud", classifier, **change)
    with pytest.raises(ModelNotLoaded) as caught:
        open_model(str(tmp_path), "gbm", path="fraud")
    assert reason in caught.value.text()


def test_a_flavour_that_needs_mlflow_names_the_extra(tmp_path, classifier):
    folder(tmp_path / "fraud", classifier)
    with pytest.raises(ModelNotLoaded) as caught:
        open_model(str(tmp_path), "gbm", path="fraud", options={"flavor": "python_function"})
    assert "pip install 'rdv[mlflow]'" in caught.value.text()


def test_a_damaged_model_file_is_refused(tmp_path, classifier):
    folder(tmp_path / "fraud", classifier)
    (tmp_path / "fraud" / "model.pkl").write_bytes(b"\x80\x04 not a pickle")
    with pytest.raises(ModelNotLoaded):
        open_model(str(tmp_path), "gbm", path="fraud")


@pytest.mark.parametrize(
    ("found", "results"),
    [
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (np.array([1.5, 2.5]), [{"value": 1.5}, {"value": 2.5}]),
        (pd.Series(["x", "y"]), [{"label": "x"}, {"label": "y"}]),
        ([{"score": 1}, {"score": 2}], [{"score": 1}, {"score": 2}]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"a": np.array([1, 2])}, [{"a": 1}, {"a": 2}]),
    ],
)
def test_results_of_every_shape_become_one_for_each_row(found, results):
    assert adapter.results_of(found) == results
