"""The rows of a load run come from a file, each the data alone or {"data": …, "truth": …}."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from rdv.errors import LineUnusable
from rdv.payload import UnusableJson, read_json
from rdv.system.faults import faults

ROWS_MAX = 200_000
"""The maximum number of rows; more are ignored, since rows are sent in turn anyway."""
_KNOWN = {"data", "key", "truth", "schedule"}


@dataclass(frozen=True)
class Row:
    """One request, ready to be sent, and the right answer, if it is known."""

    body: bytes
    truth: Any = None


def read_rows(path: str, key_field: str | None, extra: dict[str, Any]) -> list[Row]:
    """Read the rows of a JSON lines file. Raises LineUnusable, SystemFaults."""
    with faults(path, "read"), open(path, "rb") as file:
        return make_rows(itertools.islice(file, ROWS_MAX), key_field, extra)


def make_rows(lines: Iterable[bytes], key_field: str | None, extra: dict[str, Any]) -> list[Row]:
    """Make rows from lines; `extra` is merged into every body (a schedule). Raises LineUnusable."""
    rows = [
        _row(line, number, key_field, extra)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise LineUnusable(1, "is missing: there is nothing to send")
    return rows


def _row(line: bytes, number: int, key_field: str | None, extra: dict[str, Any]) -> Row:
    try:
        parsed = read_json(line)
    except UnusableJson as error:
        raise LineUnusable(number, error.verdict(), error.hint(), error.kind) from None
    # Bare data may have a field "data" too, but it is unlikely to have only known fields.
    is_wrapped = isinstance(parsed, dict) and "data" in parsed and parsed.keys() <= _KNOWN
    row = parsed if is_wrapped else {"data": parsed}
    body: dict[str, Any] = {k: row[k] for k in ("key", "schedule") if row.get(k) is not None}
    # The data is sent as it is in the file, not parsed and encoded again.
    data = msgspec.json.decode(line, type=dict[str, msgspec.Raw])["data"] if is_wrapped else line
    body = {"data": msgspec.Raw(bytes(data).strip())} | body
    if key_field is not None:
        body["key"] = _key(row["data"], key_field, number)
    return Row(msgspec.json.encode(body | extra), row.get("truth"))


def _key(data: Any, field: str, number: int) -> str:
    if not isinstance(data, dict) or field not in data:
        raise LineUnusable(number, f"has no field {field!r} in its data", "See --key-field.")
    value = data[field]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def is_right(result: Any, truth: Any) -> bool | None:
    """Return whether a result agrees with the truth; None if they cannot be compared.

    If the truth is an object, each of its fields must be equal; a truth that is a single value is
    compared with the result, or with its "label" or "bin".
    """
    if isinstance(truth, dict):
        if not truth or not isinstance(result, dict) or not truth.keys() <= result.keys():
            return None
        return all(result[key] == value for key, value in truth.items())
    if truth is None:
        return None
    if isinstance(result, dict):
        for key in ("label", "bin"):
            if key in result:
                return bool(result[key] == truth)
        return None
    return bool(result == truth)


def pick(rows: Sequence[Row], number: int) -> Row:
    """Return the row of request `number`; rows are used in turn."""
    return rows[number % len(rows)]
