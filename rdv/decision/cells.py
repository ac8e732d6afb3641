"""Say what the cells of a CSV file mean: numbers, true and false, or texts. Pure.

CSV has no types, so a whole column decides. In a column of numbers, or of true and false, an empty
cell and the words that programs write for a missing value (`NA`, `NaN`, `NULL`, `None` ...) are
null. A column with any other cell is one of texts: then `NA` is Namibia, `None` a label and `007`
a code, and only an empty cell is null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

Kind = Literal["number", "boolean", "text"]

MISSING = frozenset(("nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nat", "-nan"))
"""What stands for a missing value in a column of numbers, in lower case."""
_BOOLEANS = {"true": True, "false": False}
_INFINITE = frozenset(("inf", "-inf", "infinity", "-infinity"))
"""What JSON cannot say: null, as in Parquet."""
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Neither `007` nor `+49301234`, which are codes."""
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1


def is_missing(text: str) -> bool:
    """Return whether a cell stands for a missing value, if its column is not one of texts."""
    return not text or text.lower() in MISSING


def kind_of_cell(text: str) -> Kind | None:
    """Return what a cell makes of its column; None for one that fits into each kind."""
    if is_missing(text):
        return None
    lowered = text.lower()
    if lowered in _BOOLEANS:
        return "boolean"
    if lowered in _INFINITE:
        return "number"
    if _WHOLE.fullmatch(text):
        # A whole number that JSON's readers cannot carry would lose its last digits.
        return "number" if len(text) <= 20 and _LOWEST <= int(text) <= _HIGHEST else "text"  # noqa: PLR2004
    return "number" if _NUMBER.fullmatch(text) else "text"


def kinds_of_columns(rows: Iterable[list[str]], count: int) -> list[Kind]:
    """Return the kind of each of `count` columns; rows with another number of cells are ignored.

    A column in which nothing but missing values was found is one of texts.
    """
    kinds: list[Kind | None] = [None] * count
    open_ = set(range(count))
    for row in rows:
        if not open_:
            break
        if len(row) != count:
            continue
        for at in list(open_):
            found = kind_of_cell(row[at])
            if found is None or found == kinds[at]:
                continue
            kinds[at] = found if kinds[at] is None else "text"
            if kinds[at] == "text":
                open_.discard(at)
    return [kind or "text" for kind in kinds]


def value_of(text: str, kind: Kind) -> Any:
    """Return the value of a cell in a column of this kind; what does not fit stays a text."""
    if kind == "text":
        return text or None
    if is_missing(text):
        return None
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    if kind_of_cell(text) != "number":
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None
