"""Check .skops files as models, and functions of modules beside a scikit-learn file."""

from __future__ import annotations

import logging
import sys

import joblib
import numpy as np
import orjson
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from rdv.models import ModelNotLoaded, open_model

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
Y = [0, 1, 0, 1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with a model that uses a function of a module beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_features.py").write_text("def doubled(x):\n    return x * 2\n")
    import own_features

    model = make_pipeline(FunctionTransformer(own_features.doubled), LogisticRegression())
    model.fit(X, Y)
    joblib.dump(model, tmp_path / "m.joblib")
    skops.io.dump(model, tmp_path / "m.skops")
    skops.io.dump(LogisticRegression().fit(X, Y), tmp_path / "plain.skops")
    monkeypatch.undo()
    sys.modules.pop("own_features", None)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("own_features", None)


def label(model, row):
    return orjson.loads(model.predict([row])[0])["label"]


def test_a_file_of_known_types_is_loaded_without_a_word(place):
    model = open_model(str(place), "m", path="plain.skops")
    assert (label(model, [2, 0]), label(model, [0, 2])) == (1, 0)
    assert model.notes == []


def test_unknown_types_are_listed_with_the_line_that_trusts_them(place):
    with pytest.raises(ModelNotLoaded) as caught:
        open_model(str(place), "m", path="m.skops")
    assert 'trusted = ["own_features.doubled"]' in str(caught.value)
    trusted = {"trusted": ["own_features.doubled"]}
    model = open_model(str(place), "m", path="m.skops", options=trusted)
    assert (label(model, [2, 0]), label(model, [0, 2])) == (1, 0)


def test_a_type_that_is_trusted_already_stays_in_the_line(place):
    with pytest.raises(ModelNotLoaded, match=r'trusted = \["a.B", "own_features.doubled"\]'):
        open_model(str(place), "m", path="m.skops", options={"trusted": ["a.B"]})


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is not a model of skops"), (b"PK\x03\x04 and no more", "BadZipFile")],
)
def test_other_files_and_broken_ones_are_refused(tmp_path, content, reason):
    (tmp_path / "m.skops").write_bytes(content)
    with pytest.raises(ModelNotLoaded, match=reason):
        open_model(str(tmp_path), "m", path="m.skops")


def test_a_module_beside_the_file_is_imported_and_is_a_part_of_the_version(place, caplog):
    caplog.set_level(logging.INFO)
    first = open_model(str(place), "m", path="m.joblib")
    assert (label(first, [2, 0]), label(first, [0, 2])) == (1, 0)
    assert "loading this file runs code that it contains" in caplog.text
    (place / "own_features.py").write_text("def doubled(x):\n    return x * -2\n")
    second = open_model(str(place), "m", path="m.joblib")
    assert (label(second, [2, 0]), label(second, [0, 2])) == (0, 1)
    assert label(first, [2, 0]) == 1
    assert first.version != second.version


def test_a_function_of_the_training_script_is_named_with_what_to_do(tmp_path):
    """A pickle names the functions of a script by __main__, which is another program then."""
    text = "c__main__\nno_such_function\n."
    (tmp_path / "m.pkl").write_text(text)
    with pytest.raises(ModelNotLoaded, match="move it into a module beside the model's file"):
        open_model(str(tmp_path), "m", path="m.pkl")


def test_pandas_is_imported_with_the_model_not_in_the_first_request(tmp_path):
    import subprocess

    import pandas as pd

    frame = pd.DataFrame(X, columns=["a", "b"])
    joblib.dump(LogisticRegression().fit(frame, Y), tmp_path / "m.joblib")
    code = (
        "import sys; from rdv.models import open_model\n"
        "open_model(sys.argv[1], 'm', path='m.joblib'); assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
