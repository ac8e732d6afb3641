"""Load CatBoost models from the .cbm files of `save_model`.

A categorical column takes strings and integers; as CatBoost says, null and fractions are errors
there. In other columns null is a missing value.
"""

from __future__ import annotations

import importlib.machinery
import os
import types
from typing import Any

ENDINGS = (".cbm",)
EXTRA = "catboost"
LIBRARIES = ("catboost",)

common: Any = types.ModuleType("rdv_adapters_common")
_COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "common.py")
importlib.machinery.SourceFileLoader(common.__name__, _COMMON).exec_module(common)

OPTIONS: dict[str, str] = dict(common.OPTIONS)
_TWO_LABELS = ("MultiLogloss", "MultiCrossEntropy")


def recognises(path: str) -> bool:
    """Return whether the file begins as CatBoost's own format does."""
    with open(path, "rb") as file:
        return file.read(4) == b"CBM1"


def load(path: str, options: dict[str, Any]) -> Model:
    """Load the file. Raises CatBoostError, ImportError, ValueError."""
    return Model(path, options)


class Model:
    """Results by the loss: {"score", "label"}, {"label", "probabilities"} or {"value"}."""

    version = ""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        """Load the file."""
        import catboost  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self._model = model = catboost.CatBoost().load_model(path)
        self._threads = int(options.get("threads", 1))
        self._texts = set(model.get_cat_feature_indices())
        self._others = {
            *model.get_text_feature_indices(),
            *getattr(model, "get_embedding_feature_indices", list)(),
        }
        names = [str(name) for name in model.feature_names_]
        # Columns of an array are named by their numbers: rows are lists then, unless named.
        is_named = names != [str(number) for number in range(len(names))]
        self._table = common.Table(names if is_named else None, len(names), options)
        self.columns = self._table.columns()
        self.numbers = None if self._texts or self._others else self._table.numbers
        for number in self._texts if self.columns else ():
            self.columns[number].update(type="any", nullable=False)
        known = [item.item() if hasattr(item, "item") else item for item in model.classes_]
        self._labels = common.labels_of(options, len(known), known) if known else []
        self._has_many = model.get_all_params().get("loss_function") in _TWO_LABELS

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        return self.predict_numbers(self._rows(rows))

    def predict_numbers(self, x: Any) -> list[Any]:
        """Return one result for each row of an array, or of lists."""
        if not self._labels:
            return list(common.values(self._model.predict(x, thread_count=self._threads)))
        shares = self._model.predict(x, prediction_type="Probability", thread_count=self._threads)
        if self._has_many:
            keys = [str(label) for label in self._labels]
            return [{"probabilities": dict(zip(keys, row, strict=True))} for row in shares.tolist()]
        return list(common.classes(shares, self._labels))

    def _rows(self, rows: list[Any]) -> Any:
        """Return an array of numbers, or lists when a column is not one of numbers."""
        if not self._texts and not self._others:
            return self._table.array(rows)
        cells, count = self._table.cells(rows), self._model_width()
        for number in range(count):
            column = cells[number::count]
            if number in self._texts:
                self._check(number, column)
            elif number not in self._others:
                cells[number::count] = [self._number(number, value) for value in column]
        return [cells[start : start + count] for start in range(0, len(cells), count)]

    def _model_width(self) -> int:
        return len(self._model.feature_names_)

    def _check(self, number: int, column: list[Any]) -> None:
        for value in column:
            if not isinstance(value, (str, int)):
                raise ValueError(f"{self._name(number)}: a category is not {value!r}")  # noqa: TRY004

    def _number(self, number: int, value: Any) -> Any:
        if isinstance(value, (str, list, dict)):
            raise ValueError(f"{self._name(number)}: {value!r} is not a number")  # noqa: TRY004
        return float("nan") if value is None else value

    def _name(self, number: int) -> str:
        return repr(str(self._model.feature_names_[number]))
