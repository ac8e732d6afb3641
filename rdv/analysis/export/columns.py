"""Define the tables of an export and their columns: names, types, meanings. Columns are only added.
Pure.

Extract what most questions are about from an answer's JSON: its class, and its number.

Turn columns into Arrow schemas, and lists of values into record batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from rdv.analysis.dataset.values import EQUAL_FIELDS, NUMBER_FIELDS
from rdv.payload import UnusableJson, canonical, read_recorded

Kind = Literal["string", "time", "int", "float", "bool", "reports"]
"""Strings that contain JSON say so. `time`: microseconds, UTC. `reports`: a list of records."""

Table = Literal["input", "scores", "results", "outcomes", "joined"]


class Column(NamedTuple):
    """One column. Every column may be null where there is no value."""

    name: str
    kind: Kind
    meaning: str


_ID = Column("id", "string", "of the request: joins all tables")
_APPENDED = Column("appended", "time", "when it was appended to the log; `day` is the day of this")
_KEY = Column("key", "string", "determines partition and cohort")
_COHORT = Column("cohort", "string", "as the proxy assigned it")
_DATA = Column("data", "string", "JSON: what the models were given")
_PLACE = (
    Column("partition", "int", "of the topic"),
    Column("offset", "int", "in the partition"),
)
_ANSWER = (
    Column("result", "string", "JSON"),
    Column("label", "string", "of the result: its action, label, bin or class"),
    Column("score", "float", "of the result: its score or probability"),
)
_TRUTH = (
    Column("outcome", "string", "JSON: what turned out to be true"),
    Column("outcome_label", "string", "of the outcome: as label"),
    Column("outcome_score", "float", "of the outcome: as score"),
)

REPORT = (
    Column("model", "string", "the model"),
    Column("outcome", "string", "result, behind, expired, not sampled or error"),
    Column("arrived_ms", "float", "from the start of the request"),
    Column(
        "is_exact", "bool", "whether this was recorded; else it is estimated from the append time"
    ),
    Column("label", "string", "of its result"),
    Column("score", "float", "of its result"),
)

TABLES: dict[Table, tuple[Column, ...]] = {
    "input": (
        _ID,
        Column("time", "time", "when it arrived, by the proxy's clock"),
        _APPENDED,
        Column("proxy", "string", "the topic"),
        *_PLACE,
        _KEY,
        _COHORT,
        Column("schedule", "string", "that the request names: a name, or JSON; null: the live one"),
        Column("deadline_ms", "float", "how long the proxy waits"),
        Column("trace", "bool", "whether the client asked for a trace"),
        Column("x_request_id", "string", "the client's own name for it, of X-Request-Id"),
        Column("idempotency_key", "string", "of Idempotency-Key"),
        Column("idempotency_client", "string", "the client that sent the key: its address"),
        _DATA,
    ),
    "scores": (
        _ID,
        Column("model", "string", "the model that reports"),
        Column("version", "string", "of the model"),
        Column("time", "time", "when it was done, by the worker's clock"),
        _APPENDED,
        *_PLACE,
        Column("outcome", "string", "result, behind, expired, not sampled or error"),
        *_ANSWER,
        Column("error", "string", "what went wrong"),
        Column("code", "string", "the same, or the refusal, for programs: see CODES.md"),
        Column("detail", "string", "more about a refusal"),
        Column("queue_ms", "float", "from the append of the request to its evaluation"),
        Column("evaluation_ms", "float", "of the whole batch"),
        Column("batch_size", "int", "requests evaluated together"),
    ),
    "results": (
        _ID,
        _APPENDED,
        Column("proxy", "string", "the return address"),
        *_PLACE,
        Column("answered_by", "string", "server or proxy; for an id with both, proxy counts"),
        Column("kind", "string", "preferred, fallback or default"),
        Column("model", "string", "the model that answered; a+b: combined; null: the default"),
        Column("version", "string", "of the model"),
        *_ANSWER,
        Column("reason", "string", "why it is not the preferred answer"),
        Column("code", "string", "the same for programs: see CODES.md"),
        Column("step", "int", "of the schedule, from 1; 0: none"),
        Column("waited_ms", "float", "from the start of the request"),
        Column("schedule", "string", "name and content hash"),
        _COHORT,
        Column("arrived", "string", "JSON: [model, ms, outcome] of the reports until then"),
    ),
    "outcomes": (
        _ID,
        Column("time", "time", "when it was known; the latest of an id counts"),
        _APPENDED,
        Column("topic", "string", "where it was recorded: a proxy's topic, or cli"),
        Column("source", "string", "where it came from: a client's address, or cli: and a user"),
        *_PLACE,
        *_TRUTH,
    ),
    "joined": (
        _ID,
        Column("time", "time", "when the request arrived, by the proxy's clock"),
        _APPENDED,
        Column("proxy", "string", "the return address"),
        _KEY,
        _COHORT,
        Column("asked", "string", "schedule that the request names; null: the live one"),
        Column("deadline_ms", "float", "how long the proxy waits"),
        _DATA,
        Column("kind", "string", "preferred, fallback or default; null: no recorded answer"),
        Column("model", "string", "the model that answered"),
        Column("version", "string", "of the model"),
        *_ANSWER,
        Column("code", "string", "why it is not the preferred answer: see CODES.md"),
        Column("step", "int", "of the schedule"),
        Column("waited_ms", "float", "from the start of the request"),
        Column("schedule", "string", "name and content hash"),
        Column("answered_by", "string", "server or proxy"),
        *_TRUTH,
        Column("reports", "reports", "the reports of all models: see below"),
    ),
}


def describe_columns() -> list[str]:
    """Return a description of the tables, one line for each column."""
    lines: list[str] = []
    for table, columns in TABLES.items():
        lines.append(table)
        lines += describe(columns)
    lines.append("reports (in joined), a list of")
    return lines + describe(REPORT)


def describe(columns: tuple[Column, ...]) -> list[str]:
    """Return one line for each column."""
    return [f"  {c.name:<19} {c.kind:<8}{c.meaning}" for c in columns]


CACHE_MAX = 20_000
CACHED_BYTES_MAX = 200


class Answer(NamedTuple):
    """`label` is the first of action, label, bin, class; `score` is the first of score,
    probability.

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
        return Answer(_text(label), float(score) if _is_number(score) else None)
    if isinstance(value, float):
        return Answer(None, value)
    if isinstance(value, list):
        return NOTHING
    return Answer(_text(value), float(value) if _is_number(value) else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return canonical(value).decode()


class Answers:
    """Reads answers as they are in the log; recent ones are cached."""

    def __init__(self) -> None:
        self.unreadable = 0
        """The number of answers that are exported as text only; equal ones are counted once."""
        self._known: dict[bytes, Answer] = {}

    def of_json(self, text: bytes | None) -> Answer:
        """Return the label and score; nothing for None, and for what is not JSON."""
        if text is None:
            return NOTHING
        found = self._known.get(text)
        if found is None:
            try:
                found = answer_of(read_recorded(text))
            except UnusableJson:
                self.unreadable += 1
                found = NOTHING
            if len(text) <= CACHED_BYTES_MAX:
                if len(self._known) >= CACHE_MAX:
                    self._known.clear()
                self._known[text] = found
        return found

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
