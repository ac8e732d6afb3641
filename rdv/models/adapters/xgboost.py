"""Load XGBoost models from the .json and .ubj files of `save_model`.

null is a missing value, and so is the number of the option `missing`. The file of XGBoost 3.1 or
later has the categories of pandas columns; an unknown one is an error, as XGBoost says.
"""

from __future__ import annotations

import importlib.machinery
import itertools
import json
import os
import types
from typing import Any

ENDINGS = (".json", ".ubj")
EXTRA = "xgboost"
LIBRARIES = ("xgboost",)

common: Any = types.ModuleType("rdv_adapters_common")
_COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "common.py")
importlib.machinery.SourceFileLoader(common.__name__, _COMMON).exec_module(common)

OPTIONS: dict[str, str] = {
    **common.OPTIONS,
    "missing": "a number that stands for a missing value, besides null",
    "categories": "the values of categorical columns by name, for a file that has only codes",
}
_HEAD_BYTES = 4096
_TYPES = {"int": "integer", "i": "boolean"}
_BINARY = ("binary:logistic",)
_CLASSES = ("multi:softprob",)
_LABELS = ("binary:hinge", "multi:softmax")


def recognises(path: str) -> bool:
    """Return whether the file is an object that begins with XGBoost's "learner"."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.lstrip().startswith(b"{") and (b'"learner"' in head or b"learner{" in head)


def load(path: str, options: dict[str, Any]) -> Model:
    """Load the file. Raises XGBoostError, ImportError, ValueError."""
    return Model(path, options)


class Model:
    """Results by the objective: {"score", "label"}, {"label", "probabilities"} or {"value"}."""

    version = ""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        """Load the file."""
        import xgboost  # type: ignore[import-untyped,import-not-found,unused-ignore]

        booster = xgboost.Booster(params={"nthread": int(options.get("threads", 1))})
        booster.load_model(path)
        # The file may contain the settings of the training, as its number of threads and its GPU.
        booster.set_param({"nthread": int(options.get("threads", 1)), "device": "cpu"})
        learner = json.loads(booster.save_config())["learner"]
        self._xgboost, self._booster = xgboost, booster
        self._objective = str(learner["objective"]["name"])
        self._is_linear = learner["gradient_booster"]["name"] == "gblinear"
        self._missing = float(options.get("missing", "nan"))
        self._iterations = _iterations(booster, is_linear=self._is_linear)
        kinds = list(booster.feature_types or ())
        self._table = common.Table(
            booster.feature_names,
            booster.num_features(),
            options,
            _categories(booster, kinds, options),
        )
        self.columns = self._table.columns([_TYPES.get(kind, "number") for kind in kinds] or None)
        self.numbers = self._table.numbers
        count = int(learner["learner_model_param"]["num_class"])
        self._labels = common.labels_of(options, max(count, 2))

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        return self.predict_numbers(self._table.array(rows))

    def predict_numbers(self, x: Any) -> list[Any]:
        """Return one result for each row of an array."""
        found = self._predicted(x)
        if self._objective in _BINARY:
            return list(common.binary(found, self._labels))
        if self._objective in _CLASSES:
            return list(common.classes(found, self._labels))
        if self._objective in _LABELS:
            return [{"label": self._labels[int(number)]} for number in found.tolist()]
        return list(common.values(found))

    def _predicted(self, x: Any) -> Any:
        if self._is_linear:
            matrix = self._xgboost.DMatrix(x, missing=self._missing, nthread=1)
            return self._booster.predict(matrix, validate_features=False)
        return self._booster.inplace_predict(
            x, iteration_range=self._iterations, missing=self._missing, validate_features=False
        )


def _iterations(booster: Any, *, is_linear: bool) -> tuple[int, int]:
    """Return the trees to use: those up to the best iteration where scikit-learn's class does."""
    if is_linear or booster.attr("scikit_learn") is None:
        return 0, 0
    best = booster.attr("best_iteration")
    return (0, 0) if best is None else (0, int(best) + 1)


def _categories(
    booster: Any, kinds: list[str], options: dict[str, Any]
) -> dict[int, list[Any]] | None:
    """Return the values of the categorical columns by their numbers, in the order of their codes.

    Without values, as in a file of XGBoost before 3.1, a column takes the codes.
    """
    numbers = [number for number, kind in enumerate(kinds) if kind == "c"]
    if not numbers:
        return None
    given = options.get("categories") or {}
    names = booster.feature_names or [str(number) for number in range(len(kinds))]
    in_file, found = _in_file(booster), dict[int, list[Any]]()
    for number in numbers:
        values = given.get(names[number]) or in_file.get(number, [])
        if values is None:
            raise ValueError(
                f"XGBoost writes the categories of {names[number]!r} wrongly, because they are not "
                "ASCII: give them in the option categories, in the order of the training"
            )
        if values:
            found[number] = values
    return found


def _in_file(booster: Any) -> dict[int, list[Any] | None]:
    """Return the categories that the file contains; None where they are damaged."""
    raw = booster.save_raw("json")
    start = raw.find(b'"cats":')
    if start < 0:
        return {}
    text = bytes(raw[start + len(b'"cats":') :]).decode("utf-8", "replace")
    columns = json.JSONDecoder().raw_decode(text)[0].get("enc", [])
    return {number: _values(column) for number, column in enumerate(columns)}


def _values(column: dict[str, Any]) -> list[Any] | None:
    """Return numbers as they are, and strings from their bytes.

    XGBoost 3.2 cuts strings of pandas that are not ASCII; negative bytes show that there are some.
    """
    values, offsets = column["values"], column.get("offsets")
    if offsets is None:
        return list(values)
    if any(value < 0 for value in values):
        return None
    text = bytes(values).decode()
    return [text[start:end] for start, end in itertools.pairwise(offsets)]
