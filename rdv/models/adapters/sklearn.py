"""Load scikit-learn estimators from .joblib and .pkl files.

A pickle can run any code when it is loaded: use only files that you trust as you trust code.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

ENDINGS = (".joblib", ".pkl", ".pickle")
EXTRA = "sklearn"
LIBRARIES = ("sklearn", "joblib")
OPTIONS: dict[str, str] = {}

RUNS_CODE = "loading this file runs code that it contains: use only files that you trust"
_TWO = 2


def recognises(path: str) -> bool:
    """Return whether it is a file: what is in a pickle shows only when it is loaded."""
    return os.path.isfile(path)


def load(path: str, options: dict[str, Any]) -> Estimator:
    """Load by joblib, which reads plain pickles as well; without joblib by pickle.

    Modules beside the file can be imported: an estimator may use functions of them.
    """
    del options
    return Estimator(with_siblings(path, _read), notes=[RUNS_CODE])


def with_siblings(path: str, read: Any) -> Any:
    """Call `read(path)` while modules beside the file can be imported, before all others."""
    directory = os.path.dirname(os.path.realpath(path))
    sys.dont_write_bytecode = True  # else a cached module could hide an edit
    sys.path.insert(0, directory)
    try:
        return read(path)
    finally:
        sys.path.remove(directory)
        if directory not in sys.path:
            sys.path.append(directory)  # behind the libraries: a model may import them later


def _read(path: str) -> Any:
    with open(path, "rb") as file:
        try:
            import joblib  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError:
            if path.endswith(".joblib"):
                raise
            import pickle

            return pickle.load(file)  # noqa: S301 - see the module's docstring
        try:
            return joblib.load(file)
        except AttributeError as error:
            if "__main__" not in str(error):
                raise
            advice = "move it into a module beside the model's file, import it, and save again"
            raise AttributeError(f"{error}: {advice}") from error


class Estimator:
    """Calls an estimator's `predict_proba`, or `predict` when it has none.

    A row is a list of numbers, or an object whose fields the estimator knows by name
    (`feature_names_in_`). The result is

    - two classes: {"score": probability of the second class, "label": the likelier one}
    - more: {"label": the likeliest, "probabilities": {label: probability}}
    - a classifier without probabilities: {"label": …}
    - a regression: {"value": …}
    """

    version = ""

    def __init__(self, estimator: Any, notes: list[str]) -> None:
        """Raise TypeError for an object that cannot predict."""
        if not callable(getattr(estimator, "predict", None)):
            raise TypeError(f"a {type(estimator).__name__} has no predict")
        self.notes = notes
        self._estimator = estimator
        names = getattr(estimator, "feature_names_in_", None)
        self._names = None if names is None else [str(item) for item in names]
        self.columns = columns_of(self._names)
        self._frame = None if self._names is None else _data_frame()
        # This class puts a row's fields in order, so the missing names are no problem.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        x = self._table(rows)
        classes = getattr(self._estimator, "classes_", None)
        if not hasattr(self._estimator, "predict_proba"):
            key = "value" if classes is None else "label"
            return [{key: item} for item in self._estimator.predict(x).tolist()]
        shares = self._estimator.predict_proba(x)
        if isinstance(shares, list):
            raise TypeError("several outputs at once are not supported; write a .py model")
        return _labelled(shares, classes.tolist() if classes is not None else [])

    def _table(self, rows: list[Any]) -> Any:
        """Return the rows in the form that scikit-learn expects."""
        import numpy as np

        if not isinstance(rows[0], dict):
            x = np.asarray(rows)
            # numpy turns the numbers of a row with a string into strings.
            return np.asarray(rows, object) if x.ndim > 1 and x.dtype.kind == "U" else x
        if self._names is None:
            raise TypeError("rows are objects, but the model does not know its features' names")
        values = [[row[name] for name in self._names] for row in rows]
        if self._frame is not None:
            return self._frame(values, columns=self._names)
        return np.asarray(values)


def columns_of(names: list[str] | None) -> list[dict[str, Any]] | None:
    """Return the columns that an estimator knows by name."""
    return None if names is None else [{"name": name, "required": True} for name in names]


def _labelled(shares: Any, labels: list[Any]) -> list[dict[str, Any]]:
    best = shares.argmax(1).tolist()
    if len(labels) == _TWO:
        scores = shares[:, 1].tolist()
        return [
            {"score": score, "label": labels[index]}
            for score, index in zip(scores, best, strict=True)
        ]
    keys = [str(label) for label in labels]
    return [
        {"label": labels[index], "probabilities": dict(zip(keys, row, strict=True))}
        for index, row in zip(best, shares.tolist(), strict=True)
    ]


def _data_frame() -> Any:
    """Return pandas' DataFrame if installed: pipelines that choose columns by name need it."""
    try:
        from pandas import DataFrame  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    return DataFrame
