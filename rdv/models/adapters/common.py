"""Turn rows into an array of numbers, and scores into results, for the adapters beside this file.

They load it by its path, because it must work where rdv is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

OPTIONS = {
    "columns": "the names of the columns in order, for a file that does not contain them",
    "labels": "the classes' names in order, for a file that does not contain them",
    "absent": '"null": a field that is not there is a missing value; default "error"',
}
_PLAIN = frozenset((int, float, bool, type(None)))
_NAN = float("nan")
_TWO = 2
_HALF = 0.5


class Table:
    """Turns rows, which are objects or lists, into an array of floats [rows, columns].

    null is NaN, true is 1. Fields that are no column are ignored.
    """

    def __init__(
        self,
        names: Sequence[str] | None,
        count: int,
        options: dict[str, Any],
        categories: dict[int, list[Any]] | None = None,
        *,
        takes_unknown: bool = False,
        renames: bool = False,
    ) -> None:
        """Take the columns' names, if they are known, and how many there are.

        `categories` are the values of categorical columns by their number; an unknown one is NaN if
        `takes_unknown`. `renames`: the library has written _ for each space of a name. Raises
        ValueError.
        """
        given = options.get("columns")
        if given is not None and (not isinstance(given, list) or len(given) != count):
            raise ValueError(f"the option columns has to be a list of {count} names")
        if options.get("absent", "error") not in ("error", "null"):
            raise ValueError('the option absent has to be "error" or "null"')
        self.names = [str(name) for name in given or names or ()] or None
        self._count = count
        self._fills = options.get("absent") == "null"
        self._renames = renames and any("_" in name for name in self.names or ())
        self._categories = [
            (number, {value: code for code, value in enumerate(values)})
            for number, values in (categories or {}).items()
        ]
        self._takes_unknown = takes_unknown
        self._pick = _getter(self.names) if self.names else None

    @property
    def numbers(self) -> tuple[list[str] | None, int, bool] | None:
        """The names of the columns, how many there are, and whether a missing field is NaN.

        None when a column is not one of numbers. See `numbers` in rdv/models/adapters/__init__.py.
        """
        if self._categories:
            return None
        return self.names, self._count, self._fills and not self._renames

    def columns(self, types: Sequence[str] | None = None) -> list[dict[str, Any]] | None:
        """Return the description of the columns; None when they have no names."""
        if self.names is None:
            return None
        found: list[dict[str, Any]] = [
            {"name": name, "type": types[number] if types else "number"}
            for number, name in enumerate(self.names)
        ]
        for number, codes in self._categories:
            found[number].update(type=_type_of(codes), categories=list(codes))
        for one in found:
            one.update(required=not self._fills, nullable=True)
        return found

    def array(self, rows: list[Any]) -> Any:
        """Return the rows as an array.

        Raises KeyError for a missing field, ValueError, TypeError.
        """
        import numpy as np

        cells = self.cells(rows)
        for number, codes in self._categories:
            cells[number :: self._count] = self._coded(number, codes, cells[number :: self._count])
        if not _PLAIN.issuperset(map(type, cells)):
            self._check(cells)
        return np.fromiter(cells, np.float64, len(cells)).reshape(len(rows), self._count)

    def cells(self, rows: list[Any]) -> list[Any]:
        """Return all values, row by row, in the order of the columns."""
        if isinstance(rows[0], dict):
            return list(chain.from_iterable(self._picked(rows)))
        if not isinstance(rows[0], (list, tuple)):
            raise TypeError(f"a row is an object or a list, not a {type(rows[0]).__name__}")
        if set(map(len, rows)) != {self._count}:
            counts = " or ".join(map(str, sorted(set(map(len, rows)))))
            raise ValueError(f"a row has {counts} values, but the model has {self._count} columns")
        return list(chain.from_iterable(rows))

    def _picked(self, rows: list[Any]) -> list[Any]:
        if self._pick is None or self.names is None:
            raise TypeError(
                "rows are objects, but the file has no names of columns: the option columns adds "
                "them"
            )
        try:
            return list(map(self._pick, rows))
        except KeyError:
            if not (self._renames or self._fills):
                raise
        if self._renames:
            rows = [{key.replace(" ", "_"): row[key] for key in row} for row in rows]
        if self._fills:
            return [[row.get(name) for name in self.names] for row in rows]
        return list(map(self._pick, rows))

    def _coded(self, number: int, codes: dict[Any, int], values: list[Any]) -> list[Any]:
        """Return the codes of categories; null and NaN are NaN."""
        if self._takes_unknown:
            return [codes.get(value, _NAN) for value in values]
        found: list[Any] = []
        for value in values:
            code = codes.get(value)
            if code is None and value is not None and value == value:  # noqa: PLR0124 - NaN
                raise ValueError(f"{self._name(number)}: unknown category {value!r}")
            found.append(_NAN if code is None else code)
        return found

    def _check(self, cells: list[Any]) -> None:
        """Raise ValueError for the first value that is not a number; numpy's scalars are fine."""
        for number, value in enumerate(cells):
            if type(value) not in _PLAIN and not hasattr(value, "dtype"):
                shown = repr(value)[:60]
                raise ValueError(f"{self._name(number % self._count)}: {shown} is not a number")

    def _name(self, number: int) -> str:
        return repr(self.names[number]) if self.names else f"column {number}"


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    """Return what picks these fields of an object, as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda row: (row[name],)


def _type_of(values: Any) -> str:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return "string"
    return "boolean" if kinds == {bool} else "number" if kinds <= {int, float} else "any"


def labels_of(options: dict[str, Any], count: int, known: Sequence[Any] = ()) -> list[Any]:
    """Return the names of `count` classes: the option `labels`, else `known`, else 0, 1, …"""
    labels = options.get("labels")
    if labels is None:
        return list(known) or list(range(count))
    if not isinstance(labels, list) or len(labels) != count:
        raise ValueError(f"the option labels has to be a list of {count} names")
    return labels


def binary(scores: Any, labels: list[Any]) -> list[Any]:
    """Return the results for the probabilities of the second of two classes."""
    no, yes = labels
    return [{"score": x, "label": yes if x > _HALF else no} for x in scores.tolist()]


def classes(shares: Any, labels: list[Any]) -> list[Any]:
    """Return the results for a probability in each class, [rows, classes]."""
    if len(labels) == _TWO:
        return binary(shares[:, 1], labels)
    best = shares.argmax(1).tolist()
    keys = [str(label) for label in labels]
    return [
        {"label": labels[index], "probabilities": dict(zip(keys, row, strict=True))}
        for index, row in zip(best, shares.tolist(), strict=True)
    ]


def values(found: Any) -> list[Any]:
    """Return the results of a regression or a ranking; several outputs are a list."""
    return [{"value": item} for item in found.tolist()]
