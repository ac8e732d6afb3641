"""A model may be a scikit-learn estimator in a .joblib or .pkl file.

A pickle can run any code when it is loaded: use only files that you trust as you trust code.
"""

from __future__ import annotations

import warnings
from typing import Any

from rdv.models.batch import predict_batch
from rdv.models.model import Again, ModelNotLoaded, Outcome, Takes
from rdv.models.python_file import not_loaded

ENDINGS = (".joblib", ".pkl", ".pickle")
_TWO = 2


class EstimatorModel:
    """Calls an estimator's `predict_proba`, or `predict` when it has none.

    A row is a list of numbers, or an object whose fields the estimator knows by name
    (`feature_names_in_`). The result is

    - two classes: {"score": probability of the second class, "label": the likelier one}
    - more: {"label": the likeliest, "probabilities": {label: probability}}
    - a classifier without probabilities: {"label": …}
    - a regression: {"value": …}
    """

    takes: Takes = "values"
    kind = "scikit-learn"

    def __init__(self, name: str, path: str, version: str, result_bytes_max: int) -> None:
        """Load the file. Raises ModelNotLoaded."""
        self._bytes_max = result_bytes_max
        try:
            self._estimator = _load(path)
            self.version = version
        except ImportError as error:
            reason = f"{error}; pip install 'rdv[sklearn]'"
            raise ModelNotLoaded(name, path, reason) from None
        except BaseException as error:  # noqa: BLE001 - model code, anything goes
            raise not_loaded(name, path, error) from None
        if not callable(getattr(self._estimator, "predict", None)):
            what = type(self._estimator).__name__
            raise ModelNotLoaded(name, path, f"a {what} has no predict") from None
        names = getattr(self._estimator, "feature_names_in_", None)
        self._names = None if names is None else [str(item) for item in names]
        self.columns = self._names
        # This class puts a row's fields in order, so the missing names are no problem.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model."""
        return predict_batch(self._results, rows, self._bytes_max, again)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _results(self, rows: list[Any]) -> list[Any]:
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
            return np.asarray(rows)
        if self._names is None:
            raise TypeError("rows are objects, but the model does not know its features' names")
        values = [[row[name] for name in self._names] for row in rows]
        if (frame := _data_frame()) is not None:
            return frame(values, columns=self._names)
        return np.asarray(values)


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


def _load(path: str) -> Any:
    """Load by joblib, which reads plain pickles as well; without joblib by pickle."""
    with open(path, "rb") as file:
        try:
            import joblib  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError:
            if path.endswith(".joblib"):
                raise
            import pickle

            return pickle.load(file)  # noqa: S301 - see the module's docstring
        return joblib.load(file)


def _data_frame() -> Any:
    """Return pandas' DataFrame if installed: pipelines that choose columns by name need it."""
    try:
        from pandas import DataFrame  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    return DataFrame
