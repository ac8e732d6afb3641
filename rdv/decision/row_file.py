"""Read rows to score from files: JSON lines, CSV and Parquet, each also compressed (.gz)."""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, cast

from rdv.decision.cells import Kind, kinds_of_columns, value_of
from rdv.decision.decision import Decision
from rdv.decision.schema_check import read_tree
from rdv.decision.schema_source import schema_text
from rdv.decision.schema_tree import Node
from rdv.errors import InputFault, LineUnusable
from rdv.payload import UnusableJson, read_json
from rdv.system.faults import faults

PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson", ".json")
ENDINGS = (*PARQUET, *TABLES, *LINES)
_ROWS = 5_000
_KINDS: dict[str, Kind] = {
    "number": "number", "integer": "number", "boolean": "boolean",
    "string": "text", "datetime": "text", "date": "text",
}  # fmt: skip
"""The kinds of the columns by their types in [schema]."""


class RowFileUnusable(InputFault):
    """A file of rows, or of their answers, cannot be used."""

    path: str
    reason: str

    _text = "{path} {reason}"
    _hint = "The suffix says what a file is: .parquet, .csv, .tsv, .jsonl; the latter also .gz."


def ending_of(path: str) -> str:
    """Return which of ENDINGS a file has. Raises RowFileUnusable."""
    plain = path.lower().removesuffix(".gz")
    found = next((ending for ending in ENDINGS if plain.endswith(ending)), None)
    if found is None or (found in PARQUET and path.lower().endswith(".gz")):
        raise RowFileUnusable(path, "has no suffix that is known")
    return found


def kinds_of_schema(decision: Decision) -> dict[str, Kind]:
    """Return the kinds of the columns that [schema] declares. Raises InvalidDecision."""
    text = schema_text(decision)
    if not text:
        return {}
    found = {name: _kind_of(node) for name, node in read_tree(text).fields.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind_of(node: Node) -> Kind | None:
    """Return the kind of a column; None if it may be of several."""
    below = [*node.any_of, *node.one_of]
    types = {*node.types, *(one for node in below for one in node.types)} - {"null"}
    kinds = {_KINDS.get(one) for one in types}
    return kinds.pop() if len(kinds) == 1 else None


def read_rows(path: str, kinds: Mapping[str, Kind] | None = None) -> Iterator[dict[str, Any]]:
    """Yield each row as an object of JSON: NaN and infinities become null, times become text.

    The cells of a CSV file mean what `rdv.decision.cells` says, where `kinds` do not name the kind
    of a column. Raises RowFileUnusable, LineUnusable and SystemFaults.
    """
    ending = ending_of(path)
    with faults(path, "read"):
        if ending in PARQUET:
            yield from _parquet(path)
            return
        try:
            if ending in LINES:
                with _opened(path) as file:
                    yield from _lines(file)
            else:
                yield from _cells(path, ending, kinds or {})
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise RowFileUnusable(path, f"is not a whole gzip file: {error}") from None


def _opened(path: str) -> IO[bytes]:
    if path.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return open(path, "rb")


def _lines(file: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except UnusableJson as error:
            raise LineUnusable(number, error.verdict(), error.hint(), error.kind) from None
        if not isinstance(row, dict):
            raise LineUnusable(number, "is not an object")
        yield row


def _cells(path: str, ending: str, kinds: Mapping[str, Kind]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; the file is read once more before that, for its kinds."""
    with _table(path, ending) as (names, rows):
        unknown = [name for name in names if name not in kinds]
        if unknown:
            found = kinds_of_columns(rows, len(names))
            kinds = {**dict(zip(names, found, strict=True)), **kinds}
    with _table(path, ending) as (names, rows):
        columns = [(name, kinds[name]) for name in names]
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(names):
                reason = f"has {len(cells)} cells, and the header {len(names)}"
                raise LineUnusable(rows.line_num, reason)
            yield {
                name: value_of(text, kind)
                for (name, kind), text in zip(columns, cells, strict=True)
            }


@contextlib.contextmanager
def _table(path: str, ending: str) -> Iterator[tuple[list[str], Any]]:
    """Yield the names of the columns, and a reader of the rows below. Raises RowFileUnusable."""
    with _opened(path) as file:
        lines = (
            line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(file)
        )
        try:
            rows = csv.reader(lines, delimiter="\t" if ending == ".tsv" else ",", strict=True)
            names = next(rows, [])
            if len(set(names)) < len(names) or not names:
                raise RowFileUnusable(path, "has no header, or a column twice")
            yield names, rows
        except (csv.Error, UnicodeDecodeError) as error:
            raise RowFileUnusable(path, f"is no CSV: {error}") from None


def _parquet(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise RowFileUnusable(path, "has a column twice")
            for batch in file.iter_batches(_ROWS):
                for row in batch.to_pylist():
                    yield {name: _plain(value, name, path) for name, value in row.items()}
    except pa.ArrowException as error:
        raise RowFileUnusable(path, f"is no Parquet: {error}") from None


def _plain(value: Any, name: str, path: str) -> Any:
    """Return a value of Arrow as JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [_plain(item, name, path) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, name, path) for key, item in value.items()}
    if callable(iso := getattr(value, "isoformat", None)):
        return iso()
    if type(value).__name__ == "Decimal":
        return float(value)
    raise RowFileUnusable(path, f"has {type(value).__name__} in the column {name!r}: not JSON")
