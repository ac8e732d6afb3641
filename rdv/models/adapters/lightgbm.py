"""Load LightGBM models from the text files of `Booster.save_model`.

The file says what a missing value is (`use_missing`, `zero_as_missing`), so null is given to
LightGBM as NaN. A value that is not among the categories of a pandas column is NaN, as LightGBM
treats it.
"""

from __future__ import annotations

import importlib.machinery
import os
import re
import types
from typing import Any

ENDINGS = (".txt", ".lgb", ".model")
EXTRA = "lightgbm"
LIBRARIES = ("lightgbm",)

common: Any = types.ModuleType("rdv_adapters_common")
_COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "common.py")
importlib.machinery.SourceFileLoader(common.__name__, _COMMON).exec_module(common)

OPTIONS: dict[str, str] = {
    **common.OPTIONS,
    "categorical": "the pandas category columns in order, where the file leaves that open",
}
_FIRST = re.compile(rb"\s*tree\s*\nversion=v\d")
_CLASSES = ("multiclass", "multiclassova")


def recognises(path: str) -> bool:
    """Return whether the file begins as LightGBM's text files do."""
    with open(path, "rb") as file:
        return _FIRST.match(file.read(64).replace(b"\r", b"")) is not None


def load(path: str, options: dict[str, Any]) -> Model:
    """Load the file. Raises LightGBMError, ImportError, ValueError."""
    return Model(path, options)


class Model:
    """Results by the objective: {"score", "label"}, {"label", "probabilities"} or {"value"}."""

    version = ""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        """Load the file."""
        import lightgbm  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self._threads = int(options.get("threads", 1))
        self._booster = lightgbm.Booster(model_file=path)
        names = [str(name) for name in self._booster.feature_name()]
        head = _head(path)
        self._objective = head.get("objective", "").partition(" ")[0]
        categories = _categories(self._booster, head, names, options)
        self._table = common.Table(
            names, len(names), options, categories, takes_unknown=True, renames=True
        )
        self.columns = self._table.columns()
        self.numbers = self._table.numbers
        count = int(head.get("num_class", "1"))
        self._labels = common.labels_of(options, max(count, 2))

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        return self.predict_numbers(self._table.array(rows))

    def predict_numbers(self, x: Any) -> list[Any]:
        """Return one result for each row of an array."""
        found = self._booster.predict(x, num_threads=self._threads)
        if self._objective == "binary":
            return list(common.binary(found, self._labels))
        if self._objective in _CLASSES:
            return list(common.classes(found, self._labels))
        return list(common.values(found))


def _head(path: str) -> dict[str, str]:
    """Return the keys before the first tree."""
    found: dict[str, str] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Tree="):
                break
            key, _, value = line.strip().partition("=")
            found[key] = value
    return found


def _categories(
    booster: Any, head: dict[str, str], names: list[str], options: dict[str, Any]
) -> dict[int, list[Any]]:
    """Return the values of the pandas category columns by the columns' numbers.

    The file has the values of each, but not which columns they are: `categorical_feature` names
    them, except those with an order and those of a list that the user has given.
    """
    known = booster.pandas_categorical or []
    if not known:
        return {}
    if given := options.get("categorical"):
        numbers = [names.index(str(name).replace(" ", "_")) for name in given]
    else:
        numbers = [int(number) for number in booster.params.get("categorical_feature", ())]
        numbers = sorted(number for number in numbers if 0 <= number < len(names))
    infos = head.get("feature_infos", "").split()
    fits = len(numbers) == len(known) and all(
        _codes_below(infos[number], len(values))
        for number, values in zip(numbers, known, strict=True)
    )
    if not fits:
        raise ValueError(
            f"the file has the values of {len(known)} pandas category columns, but not which "
            "columns these are: name them in order in the option categorical"
        )
    return dict(zip(numbers, known, strict=True))


def _codes_below(info: str, count: int) -> bool:
    """Return whether a column's values in training can be codes of `count` categories."""
    codes = re.findall(r"[-+.\d]+(?:e[-+]?\d+)?", info)
    return all(-1 <= float(code) < count for code in codes)
