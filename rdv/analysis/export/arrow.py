"""Turn columns into Arrow schemas, and lists of values into record batches.

An answer's JSON gets two columns besides: its label and its score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rdv.analysis.dataset.reading import EQUAL_FIELDS, NUMBER_FIELDS, is_json_number
from rdv.analysis.dataset.values import TextCache
from rdv.analysis.export.columns import REPORT, TABLES, Column, Table
from rdv.payload import UnusableJson, canonical, read_recorded


class Answer(NamedTuple):
    """`label` is the first of action, label, bin, class; `score` of score, probability.

    An answer that is not an object is its own label, and its own score if it is a number.
    """

    label: str | None = None
    score: float | None = None


NOTHING = Answer()


def answer_of(value: Any) -> Answer:
    """Return the label and score of an answer that has been parsed."""
    if isinstance(value, dict):
        label = next((value[name] for name in EQUAL_FIELDS if name in value), None)
        score: Any = next((value[name] for name in NUMBER_FIELDS if name in value), None)
        return Answer(_text(label), float(score) if is_json_number(score) else None)
    if isinstance(value, float):
        return Answer(None, value)
    if isinstance(value, list):
        return NOTHING
    return Answer(_text(value), float(value) if is_json_number(value) else None)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return canonical(value).decode()


class Answers:
    """Reads answers as they are in the log; recent ones are cached."""

    def __init__(self) -> None:
        self.unreadable = 0
        """The number of answers that are exported as text only; equal ones are counted once."""
        self._known = TextCache(self._of_text)

    def of_json(self, text: bytes | None) -> Answer:
        """Return the label and score; nothing for None, and for what is not JSON."""
        return NOTHING if text is None else self._known[text]

    def _of_text(self, text: bytes) -> Answer:
        try:
            return answer_of(read_recorded(text))
        except UnusableJson:
            self.unreadable += 1
            return NOTHING

    def columns(
        self, texts: Iterable[bytes | None], prefix: str = "", result: str = "result"
    ) -> dict[str, list[Any]]:
        """Return columns of the JSON, the labels and the scores."""
        texts = list(texts)
        found = [self.of_json(text) for text in texts]
        return {
            result: [None if text is None else text.decode() for text in texts],
            f"{prefix}label": [answer.label for answer in found],
            f"{prefix}score": [answer.score for answer in found],
        }


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
