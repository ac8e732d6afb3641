"""A `Table` is read from the log each time that it is used, batch by batch."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

SHOWN = 10
"""How many rows `repr` and a notebook show."""


class Table:
    """A `Table` has the rows of a decision's log as columns, and any Arrow library can read it.

        scores = rdv.open("fraud").scores()
        frame = scores.to_pandas()
        same = polars.DataFrame(scores)
        table = pyarrow.table(scores)

    It holds no rows: each use reads the log anew, in batches, so that memory is bounded by a batch
    where the reader is (`batches`, DuckDB, Parquet writers), and what was recorded since is there.
    `len` reads it, too. Thread-safe.
    """

    def __init__(
        self, name: str, schema: Any, read: Callable[[], Iterator[Any]], rows: int | None = None
    ) -> None:
        """`read` yields record batches of the schema; `rows` is their number, if it is known."""
        self._name = name
        self._schema = schema
        self._read = read
        self._rows = rows

    @property
    def schema(self) -> Any:
        """The pyarrow.Schema: names and types; the metadata of a field has its `meaning`."""
        return self._schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._schema.names)

    def batches(self) -> Iterator[Any]:
        """Yield pyarrow.RecordBatches."""
        return self._read()

    def reader(self) -> Any:
        """Return a pyarrow.RecordBatchReader."""
        return pa.RecordBatchReader.from_batches(self._schema, self._read())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the stream of the Arrow C data interface."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table with all rows."""
        return self.reader().read_all()

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with all rows."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a polars.DataFrame with all rows."""
        import polars as pl

        return pl.DataFrame(self.to_arrow())

    def head(self, rows: int = SHOWN) -> Any:
        """Return the first rows as a pyarrow.Table; no more is read."""
        found: list[Any] = []
        left = rows
        for batch in self._read():
            found.append(batch.slice(0, left))
            left -= found[-1].num_rows
            if left <= 0:
                break
        return pa.Table.from_batches(found, self._schema)

    def __len__(self) -> int:
        if self._rows is not None:
            return self._rows
        return sum(batch.num_rows for batch in self._read())

    def __bool__(self) -> bool:
        """Return True, as for any object: whether there are rows says `len`."""
        return True

    def __repr__(self) -> str:
        return f"<rdv table {self._name}: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """Return the first rows as an HTML table, for notebooks."""
        head = self.head(SHOWN + 1)
        is_more = head.num_rows > SHOWN
        names = "".join(f"<th>{html.escape(name)}</th>" for name in head.column_names)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(value))}</td>" for value in row) + "</tr>"
            for row in islice(
                zip(*(column.to_pylist() for column in head.columns), strict=True), SHOWN
            )
        )
        more = f"<p>the first {SHOWN} rows of {html.escape(self._name)}</p>" if is_more else ""
        return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>{more}"


def of_rows(name: str, schema: Any, rows: list[dict[str, Any]]) -> Table:
    """Return a table of a few rows, which are kept."""
    batch = pa.RecordBatch.from_pylist(rows, schema)
    return Table(name, schema, lambda: iter([batch]), len(rows))


def _shown(value: Any) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else f"{text[:99]}…"  # noqa: PLR2004
