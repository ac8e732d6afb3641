"""Read rows to score from files: JSON lines, CSV and Parquet, each also compressed (.gz)."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from rdv.errors import InputFault, LineUnusable
from rdv.payload import UnusableJson, read_json
from rdv.system.faults import faults

PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson", ".json")
ENDINGS = (*PARQUET, *TABLES, *LINES)
_ROWS = 5_000


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


def read_rows(path: str, text_column: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each row as an object of JSON: NaN becomes null, times become text.

    In CSV an empty cell, NaN, null and NA are null; numbers, true and false are those. The cells of
    `text_column` stay the texts that they are, such as keys. Raises RowFileUnusable, LineUnusable
    and SystemFaults.
    """
    ending = ending_of(path)
    with faults(path, "read"):
        if ending in PARQUET:
            yield from _parquet(path)
            return
        zipped = path.lower().endswith(".gz")
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            if ending in LINES:
                yield from _lines(file)
            else:
                yield from _cells(file, path, ending, text_column)


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


def _cells(
    file: Iterable[bytes], path: str, ending: str, text_column: str | None
) -> Iterator[dict[str, Any]]:
    lines = (
        line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(file)
    )
    try:
        rows = csv.reader(lines, delimiter="\t" if ending == ".tsv" else ",", strict=True)
        names = next(rows, [])
        if len(set(names)) < len(names) or not names:
            raise RowFileUnusable(path, "has no header, or a column twice")
        for cells in rows:
            if not cells:
                continue
            if len(cells) != len(names):
                reason = f"has {len(cells)} cells, and the header {len(names)}"
                raise LineUnusable(rows.line_num, reason)
            row = {name: _cell(text) for name, text in zip(names, cells, strict=True)}
            if text_column in row:
                row[text_column] = cells[names.index(text_column)] or None
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise RowFileUnusable(path, f"is no CSV: {error}") from None


def _cell(text: str) -> Any:
    """Return the value of a cell: a number, true, false or null where it is one, else the text."""
    if not text or text.lower() in ("nan", "null", "na"):
        return None
    if text in ("true", "True", "false", "False"):
        return text.lower() == "true"
    if text[0] in "-0123456789":
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _parquet(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
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
