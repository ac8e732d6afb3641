"""Define the tables of an export and their columns: names, types, meanings. Columns are only added.

Pure, and without pyarrow, since `rdv export --help` lists them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

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
_PROPENSITY = Column("propensity", "float", "probability of its schedule, where a cohort explores")
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
    Column(
        "outcome", "string", "result, behind, expired, not sampled, unavailable, bad input or error"
    ),
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
        _PROPENSITY,
        Column("schedule", "string", "that the request names: a name, or JSON; null: the live one"),
        Column("deadline_ms", "float", "how long the proxy waits"),
        Column("trace", "bool", "whether the client asked for a trace"),
        Column("x_request_id", "string", "the client's own name for it, of X-Request-Id"),
        Column("traceparent", "string", "the client's trace and span (W3C Trace Context)"),
        Column("tracestate", "string", "what belongs to it"),
        Column("enriched_ms", "float", "until enrichers were done with it; null without one"),
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
        Column(
            "outcome",
            "string",
            "result, behind, expired, not sampled, unavailable, bad input or error",
        ),
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
        _PROPENSITY,
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
        _PROPENSITY,
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
