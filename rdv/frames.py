"""Read rows of frames by the Arrow C stream protocol: pandas, polars, pyarrow, DuckDB and others.

None of these libraries is imported, except pyarrow, which reads the stream when there is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from rdv.errors import InputFault


class FrameUnusable(InputFault):
    """A frame, or a row of an iterable, cannot be used."""

    reason: str
    advice: str = ""

    _text = "{reason}"

    def hint(self) -> str:
        return self.advice


class OutcomeRow(NamedTuple):
    """One outcome of a frame or an iterable. `number` counts rows from 1."""

    number: int
    id: str
    outcome: Any
    time: str | int | None


def is_frame(given: object) -> bool:
    """Return whether it is a frame that can be read."""
    return hasattr(given, "__arrow_c_stream__")


def rows_of(frame: Any, names: Sequence[str], optional: Sequence[str] = ()) -> Iterator[list[Any]]:
    """Yield the values of these columns, row by row; None for an optional column that is missing.

    Memory is bounded by a batch of the frame. Raises FrameUnusable.
    """
    import pyarrow as pa

    try:
        reader = pa.RecordBatchReader.from_stream(frame)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise FrameUnusable(f"the frame cannot be read: {error}") from None
    there = reader.schema.names
    for name in names:
        if there.count(name) != 1 and (name in there or name not in optional):
            known = ", ".join(map(repr, there)) or "none"
            count = "twice" if name in there else "not"
            raise FrameUnusable(f"the frame has the column {name!r} {count}; it has {known}")
    for batch in reader:
        columns = [
            batch.column(name).to_pylist() if name in there else [None] * batch.num_rows
            for name in names
        ]
        yield from map(list, zip(*columns, strict=True))


def outcome_rows(given: Any, id_: str, outcome: str, time: str) -> Iterator[OutcomeRow]:
    """Yield the outcomes of a frame, or of an iterable of pairs (id, outcome) or mappings.

    A row of a frame without an outcome (null, NaN) is left out: it is not known yet. In an iterable
    None withdraws an earlier outcome. The column of the time may be missing. Raises FrameUnusable.
    """
    if is_frame(given):
        for number, row in enumerate(rows_of(given, (id_, outcome, time), (time,)), 1):
            value = row[1]
            if value is None or (isinstance(value, float) and math.isnan(value)):
                continue
            yield OutcomeRow(number, _id(row[0], number), value, _time(row[2]))
        return
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        advice = "Pass a frame (pandas, polars, pyarrow, DuckDB), pairs (id, outcome), or mappings."
        raise FrameUnusable(f"a {type(given).__name__} has no rows of outcomes", advice)
    for number, item in enumerate(given, 1):
        if isinstance(item, Mapping):
            if id_ not in item or outcome not in item:
                raise FrameUnusable(f"row {number} has no {id_!r} or no {outcome!r}")
            found = item[id_], item[outcome], item.get(time)
        elif isinstance(item, (tuple, list)) and len(item) == 2:  # noqa: PLR2004
            found = item[0], item[1], None
        else:
            raise FrameUnusable(f"row {number} is neither a pair (id, outcome) nor a mapping")
        yield OutcomeRow(number, _id(found[0], number), found[1], _time(found[2]))


def _id(value: Any, number: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FrameUnusable(f"row {number} has no id of a request, but {value!r}")
    return value


def _time(value: Any) -> str | int | None:
    """Return a time in the form of `POST /v1/outcomes`: naive times are UTC."""
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if isinstance(value, date):  # a datetime is one, too
        return str(value.isoformat())
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "__index__"):
        return int(value)
    raise FrameUnusable(f"the time {value!r} is neither a time nor a whole number of ns")
