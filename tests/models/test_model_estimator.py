"""Check scikit-learn files as models."""

import pickle

import joblib
import numpy as np
import orjson
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier

from rdv.models import ModelError, ModelNotLoaded, open_model

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0], [3.0, 3.0], [4.0, 4.0]])


def saved(place, estimator, name="m.joblib"):
    joblib.dump(estimator, place / name)
    return open_model(str(place), "m", path=name)


def predicted(model, rows):
    return [orjson.loads(outcome) for outcome in model.predict(rows)]


def test_two_classes_give_a_score(tmp_path):
    model = saved(tmp_path, LogisticRegression().fit(X, ["no", "yes"] * 3))
    (answer,) = predicted(model, [[5.0, 0.0]])
    assert set(answer) == {"score", "label"}
    assert answer["label"] == "yes"
    assert 0.5 < answer["score"] < 1
    assert len(model.version) == 12


def test_more_classes_give_probabilities(tmp_path):
    model = saved(tmp_path, LogisticRegression().fit(X, [7, 8, 7, 8, 9, 9]))
    (answer,) = predicted(model, [[0.0, 2.0]])
    assert answer["label"] == 7
    assert set(answer["probabilities"]) == {"7", "8", "9"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_labels_and_values(tmp_path):
    model = saved(tmp_path, RidgeClassifier().fit(X, [0, 1, 0, 1, 0, 1]))
    assert predicted(model, [[2.0, 0.0]]) == [{"label": 1}]
    model = saved(tmp_path, LinearRegression().fit(X, X.sum(1)))
    (answer,) = predicted(model, [[2, 2]])
    assert answer["value"] == pytest.approx(4)


def test_plain_pickles(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(DummyClassifier().fit(X, [0, 1, 0, 1, 0, 0])))
    assert predicted(open_model(str(tmp_path), "m", path="m.pkl"), [[0, 0]])[0]["label"] == 0


def test_objects_are_put_in_the_order_of_the_features(tmp_path):
    estimator = LinearRegression().fit(X, X[:, 0] - 2 * X[:, 1])
    estimator.feature_names_in_ = np.array(["a", "b"], dtype=object)
    model = saved(tmp_path, estimator)
    answers = predicted(model, [{"b": 1, "a": 5}, {"a": 0, "b": 0, "c": "ignored"}])
    assert [answer["value"] for answer in answers] == pytest.approx([3, 0], abs=1e-9)
    outcomes = model.predict([{"a": 1}, {"a": 1, "b": 0}])
    assert outcomes[0] == ModelError("KeyError: 'b'")
    assert isinstance(outcomes[1], bytes)


def test_objects_for_a_model_without_names_are_errors(tmp_path):
    model = saved(tmp_path, LinearRegression().fit(X, X[:, 0]))
    assert "does not know its features' names" in str(model.predict([{"a": 1}])[0])


def test_bad_rows_spoil_no_others(tmp_path):
    model = saved(tmp_path, LogisticRegression().fit(X, [0, 1] * 3))
    outcomes = model.predict([[1, 2], [1], "x", [3, 4]])
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, False, True]


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps({"a": 1})])
def test_files_that_are_no_estimators(tmp_path, data):
    (tmp_path / "m.joblib").write_bytes(data)
    with pytest.raises(ModelNotLoaded, match="cannot be loaded"):
        open_model(str(tmp_path), "m", path="m.joblib")
