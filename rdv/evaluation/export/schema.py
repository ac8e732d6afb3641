"""Turn columns into Arrow schemas, and lists of values into record batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rdv.evaluation.export.columns import REPORT, TABLES, Column, Table

_PLAIN: dict[str, Any] = {
    "string": pa.string(),
    "time": pa.timestamp("us", "UTC"),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}
_TYPES = {**_PLAIN, "reports": pa.list_(pa.struct([(c.name, _PLAIN[c.kind]) for c in REPORT]))}


def schema_of(columns: Sequence[Column]) -> Any:
    """Return a schema, with the columns' meanings in the fields' metadata."""
    return pa.schema(
        [pa.field(c.name, _TYPES[c.kind], metadata={"meaning": c.meaning}) for c in columns]
    )


SCHEMAS: dict[Table, Any] = {table: schema_of(columns) for table, columns in TABLES.items()}


def make_batch(schema: Any, values: Mapping[str, Any]) -> Any:
    """Make a record batch of lists, numpy and Arrow arrays, by column; times are ns since 1970."""
    arrays = []
    for field in schema:
        column = values[field.name]
        if pa.types.is_timestamp(field.type) and not isinstance(column, pa.Array):
            column = pa.array(column, pa.int64()).cast(pa.timestamp("ns", "UTC"))
            column = column.cast(field.type, safe=False)
        elif not isinstance(column, pa.Array):
            column = pa.array(column, field.type)
        arrays.append(column)
    return pa.record_batch(arrays, schema=schema)
