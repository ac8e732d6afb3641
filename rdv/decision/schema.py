r"""Declare the [schema] section of an rdv.toml: the columns that `data` must have.

    [schema]
    on_invalid = "reject"

    [schema.columns]
    amount = { type = "number", min = 0, max = 1e6 }
    country = { type = "string", values = ["de", "fr"], default = "de" }
    "user.age" = { type = "integer", nullable = true }
    embedding = { type = "list", items = { type = "number" }, length_min = 8, length_max = 8 }

A dot in a name leads into an object: `"user.age"` is `age` in the object `user`. A dot that is part
of a name is written as `\.` (in TOML: `'user\.age'`). `rdv.decision.schema_tree` reads the columns.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from rdv.decision.sections import live

ColumnType = Literal[
    "any", "number", "integer", "string", "boolean", "list", "object", "datetime", "date"
]
OnInvalid = Literal["reject", "default", "pass"]
Unknown = Literal["pass", "reject"]

_Length = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class Column(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Describes one column of `data`."""

    type: Annotated[
        ColumnType,
        live('"number", "integer", "string", "boolean", "list", "object", "datetime" or "date"'),
    ] = "any"
    required: Annotated[
        bool | None,
        live("Whether it must be there; left out: unless it has a default or is nullable"),
    ] = None
    nullable: Annotated[
        bool, live("Whether it may be null; a missing one is null then, if it has no default")
    ] = False
    default: Annotated[Any, live("Value of a missing column, for all models")] = UNSET
    min: Annotated[float | None, live("Smallest number")] = None
    max: Annotated[float | None, live("Largest number")] = None
    above: Annotated[float | None, live("Every number must be larger than this")] = None
    below: Annotated[float | None, live("Every number must be smaller than this")] = None
    values: Annotated[list[Any] | None, live('The only values: ["de", "fr"]')] = None
    pattern: Annotated[
        str, live("Regular expression that a string must contain; ^ and $ for all of it")
    ] = ""
    length_min: Annotated[_Length | None, live("Smallest length of a string or a list")] = None
    length_max: Annotated[_Length | None, live("Largest length of a string or a list")] = None
    items: Annotated[Column | None, live('Every item of a list: { type = "number" }')] = None

    @property
    def is_required(self) -> bool:
        """Return whether a row without it is invalid."""
        if self.required is not None:
            return self.required
        return isinstance(self.default, UnsetType) and not self.nullable


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the check of `data` before it is recorded; without columns nothing is checked."""

    on_invalid: Annotated[
        OnInvalid,
        live('Answer to invalid data: "reject": 422; "default": the marked one; "pass": mark it'),
    ] = "reject"
    unknown: Annotated[
        Unknown, live('Columns that are not declared: "pass", or "reject" as invalid')
    ] = "pass"
    json_schema: Annotated[
        str, live('File with the JSON Schema of data, instead of columns: "schema.json"')
    ] = ""
    pydantic: Annotated[
        str, live('Or a pydantic model, which a process of its own reads: "models/row.py:Row"')
    ] = ""
    columns: Annotated[
        dict[str, Column],
        live('Columns by name, "user.age" in an object: { amount = { type = "number", min = 0 } }'),
    ] = {}

    @property
    def is_declared(self) -> bool:
        """Return whether anything is checked."""
        return bool(self.columns or self.json_schema or self.pydantic)


UNDECLARED = Schema()
"""Without [schema] the data may be any JSON."""
