"""The columns that a model expects, as far as it knows them, and a row that is made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
import orjson

ColumnType = Literal[
    "any", "number", "integer", "string", "boolean", "list", "object", "datetime", "date"
]
_TYPES = frozenset(ColumnType.__args__)  # type: ignore[attr-defined]
COLUMNS_MAX = 10_000
"""A model with more columns than this is shown without them."""

_MADE: dict[str, Any] = {
    "any": 0,
    "number": 0.0,
    "integer": 0,
    "string": "",
    "boolean": False,
    "list": [],
    "object": {},
    "datetime": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
}


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column: what `data` has to hold under this name."""

    name: str
    type: ColumnType = "any"
    required: bool = True
    nullable: bool = False
    """Whether it may be null, or be left out, because the model knows missing values."""
    values: list[Any] = []
    """The only values of a categorical column; empty where they are not known."""


def columns_of(model: object) -> list[Column]:
    """Return the columns that a loaded model knows; empty when it knows none.

    A model's `columns` are names, or (name, type) pairs, a mapping from names to types, or objects
    or mappings with the fields of `Column`; an adapter outside of rdv needs no class of rdv. Raises
    nothing: a model's own attribute of this name may hold anything.
    """
    try:
        found = getattr(model, "columns", None)
        if isinstance(found, Mapping):
            found = list(found.items())
        if not isinstance(found, Iterable) or isinstance(found, (str, bytes)):
            return []
        columns = [_column(one) for one in found]
    except Exception:  # noqa: BLE001 - model code, anything goes
        return []
    return columns if len(columns) <= COLUMNS_MAX else []


def _column(found: Any) -> Column:
    if isinstance(found, str):
        return Column(name=found)
    if isinstance(found, (tuple, list)) and not hasattr(found, "name"):
        name, of = found
        if isinstance(of, Mapping):
            return _column({"name": name, **of})
        return Column(name=str(name), type=_type(of))

    def get(key: str) -> Any:
        return found.get(key) if isinstance(found, Mapping) else getattr(found, key, None)

    required, nullable = get("required"), bool(get("nullable"))
    return Column(
        name=str(get("name")),
        type=_type(get("type")),
        required=not nullable if required is None else bool(required),
        nullable=nullable,
        values=list(get("values") or get("categories") or ()),
    )


def _type(found: object) -> ColumnType:
    return found if found in _TYPES else "any"  # type: ignore[return-value]


def made_row(columns: Iterable[Column]) -> bytes:
    """Return the JSON of a row with a plain value in each column. Pure.

    A dot in a name leads into an object only in [schema]; here the names are the model's.
    """
    row = {one.name: one.values[0] if one.values else _MADE[one.type] for one in columns}
    return orjson.dumps(row, default=str)
