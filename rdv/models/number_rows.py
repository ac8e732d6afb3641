"""Read rows of plain numbers into a matrix, without an object for each row and each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdv.native import NATIVE


class NumberRows:
    """Reads the JSON of rows for a model whose columns are all numbers.

    It reads what `Table` of `adapters.common` makes of the parsed rows. Thread-safe.
    """

    def __init__(self, names: Sequence[str] | None, count: int, *, fills: bool) -> None:
        """Take the columns' names, if they are known, and how many there are.

        `fills`: a field that is not there is a missing value. Raises TypeError, ValueError.
        """
        self._count, self._fills = count, fills
        self._columns: object | None = None
        if NATIVE is not None:
            self._columns = NATIVE.columns(None if names is None else list(names), count)

    def read(self, rows: list[Any]) -> Any:
        """Return the matrix [rows, columns] of doubles; null is NaN.

        Returns None when anything in the rows is not a plain number, for no rows, or without the C
        extension: then the rows have to be parsed.
        """
        if NATIVE is None or self._columns is None or not rows:
            return None
        import numpy as np

        matrix = np.empty((len(rows), self._count))
        return matrix if NATIVE.rows(self._columns, rows, matrix, self._fills) else None
