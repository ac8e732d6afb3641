"""Make the tables of a decision: what was asked, what models scored, what was answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from rdv.analysis.dataset.chunk import read_requests, read_scores
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import ABSENT, NEVER_US, OUTCOMES, RESULT, Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.export.arrow import SCHEMAS, Answers, make_batch, schema_of
from rdv.analysis.export.columns import TABLES, Column
from rdv.analysis.export.columns import Table as ExportedTable
from rdv.analysis.export.rows import (
    Rows,
    input_rows,
    joined_rows,
    outcome_rows,
    result_rows,
    score_rows,
)
from rdv.api.table import Table
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.messages import Score, report_code
from rdv.rendezvous.topology import INPUT, SCORES

BATCH_REQUESTS = 20_000
"""The maximum number of requests in a batch of the joined tables."""
SAMPLED = 500
"""How many requests and answers of each end of the log say which columns there are."""
FIELDS_MAX = 500
"""The maximum number of fields of the data that get a column of their own."""

_EXACT_MAX = 2**53
"""Whole numbers beyond are not exact as doubles: they are kept as JSON."""

Span = tuple[int | None, int | None]
Opened = Callable[[], Recorded]

_ROWS: Mapping[ExportedTable, Rows] = {
    "input": input_rows,
    "scores": score_rows,
    "results": result_rows,
    "outcomes": outcome_rows,
}

_LONG = (
    Column("id", "string", "of the request"),
    Column("time", "time", "when the request arrived"),
    Column("model", "string", "that reports"),
    Column("version", "string", "of the model"),
    Column("outcome", "string", "result, behind, expired, not sampled, bad input or error"),
    Column("result", "string", "JSON"),
    Column("label", "string", "of the result"),
    Column("score", "float", "of the result"),
    Column("error", "string", "what went wrong, or more about a refusal"),
    Column("code", "string", "the same for programs: see CODES.md"),
    Column("arrived_ms", "float", "from the start of the request; null: never"),
    Column("is_exact", "bool", "whether that was recorded; else it is estimated"),
    Column("queue_ms", "float", "from the append of the request to its evaluation"),
    Column("evaluation_ms", "float", "of the whole batch"),
)


def of_stream(opened: Opened, table: ExportedTable, name: str, span: Span) -> Table:
    """Return a table of one stream, as `rdv export` has it."""

    def read() -> Iterator[Any]:
        with opened() as recorded:
            answers, notes = Answers(), Notes()
            for source in sources(recorded.stream(table)):
                start = source.begin if span[0] is None else source.offset_at(span[0])
                for chunk in source.chunks(start, source.offset_at(span[1]), notes):
                    yield make_batch(SCHEMAS[table], _ROWS[table](chunk, notes, answers))

    return Table(name, SCHEMAS[table], read)


def _joined(opened: Opened, span: Span, make: Callable[[Recorded], Callable[[Joined], Any]]) -> Any:
    """Return what reads the join batch by batch; no rows if no request was recorded."""

    def read() -> Iterator[Any]:
        with opened() as recorded:
            batch_of = make(recorded)
            try:
                for joined in Join(recorded, *span, requests_max=BATCH_REQUESTS):
                    yield batch_of(joined)
            except NothingRecorded:
                return

    return read


Value = Literal["auto", "score", "label", "result"]


def wide_scores(opened: Opened, span: Span, value: Value) -> Table:
    """Return one row for each request and a column for each model. See `OpenDecision.scores`."""
    with opened() as recorded:
        kinds = _kinds(recorded, value)
    fixed = _fields("id", "time", "key")
    names = _column_names(kinds, {field.name for field in fixed})
    models = (pa.field(names[model], _VALUE_TYPES[kind]) for model, kind in kinds.items())
    schema = pa.schema([*fixed, *models])

    def make(_: Recorded) -> Callable[[Joined], Any]:
        answers = Answers()

        def batch_of(joined: Joined) -> Any:
            columns = _keys(joined)
            for model, column in _values(joined, kinds, answers).items():
                columns[names[model]] = column
            return make_batch(schema, columns)

        return batch_of

    return Table("scores", schema, _joined(opened, span, make))


def long_scores(opened: Opened, span: Span) -> Table:
    """Return one row for each report of a model, with version, error and arrival."""
    schema = schema_of(_LONG)

    def make(_: Recorded) -> Callable[[Joined], Any]:
        answers = Answers()
        return lambda joined: make_batch(schema, _long_columns(joined, answers))

    return Table("scores", schema, _joined(opened, span, make))


def joined_table(opened: Opened, span: Span) -> Table:
    """Return one row for each request: data, all models' scores, answer and truth."""
    with opened() as recorded:
        kinds = _kinds(recorded, "auto")
        data = _DataColumns(_sampled_data(recorded))
    rest = [c for c in TABLES["joined"] if c.name not in ("id", "time", "key", "data", "reports")]
    fields = [
        *_fields("id", "time", "key"),
        *data.fields(),
        *(pa.field(f"score.{name}", _VALUE_TYPES[kind]) for name, kind in kinds.items()),
        *schema_of(rest),
    ]
    schema = pa.schema(fields)

    def make(recorded: Recorded) -> Callable[[Joined], Any]:
        answers, outcomes = Answers(), read_outcomes(recorded, Notes())

        def batch_of(joined: Joined) -> Any:
            columns = joined_rows(joined, outcomes, answers)
            columns |= data.columns(columns["data"])
            scores = _values(joined, kinds, answers)
            columns |= {f"score.{name}": column for name, column in scores.items()}
            return make_batch(schema, columns)

        return batch_of

    return Table("joined", schema, _joined(opened, span, make))


def _column_names(models: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Return the name of each model's column: its own, or `score.NAME` where that is taken."""
    found = {model: model for model in models if model not in taken}
    used = {*taken, *found}
    for model in models:
        if model not in found:
            name = f"score.{model}"
            while name in used:
                name = f"score.{name}"
            found[model] = name
            used.add(name)
    return found


def _fields(*names: str) -> list[Any]:
    return [field for field in SCHEMAS["joined"] if field.name in names]


def _keys(joined: Joined) -> dict[str, Any]:
    ids = [joined.id(row) for row in range(len(joined))]
    return {"id": ids, "time": joined.time_ns, "key": joined.key.cast("string")}


_VALUE_TYPES = {"score": pa.float64(), "label": pa.string(), "result": pa.string()}


def _kinds(recorded: Recorded, value: Value) -> dict[str, str]:
    """Return for each recorded model what its column has: a score, a label or the whole result."""
    stream = recorded.stream(SCORES)
    models = sorted(stream.topics()) if stream is not None else []
    if value != "auto":
        return dict.fromkeys(models, value)
    found = dict.fromkeys(models, "")
    answers = Answers()
    for source in sources(stream):
        for chunk in _ends(source):
            for score in filter(None, read_scores(chunk)):
                answer = answers.of_json(_result(score))
                if answer.score is not None:
                    found[source.topic] = "score"
                elif answer.label is not None and not found[source.topic]:
                    found[source.topic] = "label"
    return {name: kind or "score" for name, kind in found.items()}


def _ends(source: Any) -> Iterator[Any]:
    first = min(source.end, source.begin + SAMPLED)
    yield from source.chunks(source.begin, first, Notes())
    if source.end > first:
        yield from source.chunks(max(first, source.end - SAMPLED), source.end, Notes())


def _result(score: Score) -> bytes | None:
    return None if score.result is msgspec.UNSET else bytes(score.result)


def _values(joined: Joined, kinds: Mapping[str, str], answers: Answers) -> dict[str, list[Any]]:
    """Return a column of each model's answers; null where it has none."""
    found = {name: [None] * len(joined) for name in kinds}
    for number, name in enumerate(joined.models):
        column: list[Any] | None = found.get(name)
        if column is None:  # a model that has begun to score since the table was made
            continue
        for row in np.flatnonzero(joined.outcome[number] == RESULT).tolist():
            score = joined.score(number, row)
            text = None if score is None else _result(score)
            if text is not None:
                kind = kinds[name]
                column[row] = (
                    text.decode() if kind == "result" else getattr(answers.of_json(text), kind)
                )
    return found


def _long_columns(joined: Joined, answers: Answers) -> dict[str, Any]:
    rows: list[_Report] = []
    by_row, by_model = np.nonzero((joined.outcome != ABSENT).T)
    for row, number in zip(by_row.tolist(), by_model.tolist(), strict=True):
        arrival_us = int(joined.arrival_us[number, row])
        rows.append(
            _Report(
                row,
                joined.models[number],
                OUTCOMES[int(joined.outcome[number, row])],
                joined.score(number, row),
                None if arrival_us == NEVER_US else arrival_us / 1000,
                bool(joined.is_exact[number, row]),
            )
        )
    scores = [report.score for report in rows]
    return {
        "id": [joined.id(report.row) for report in rows],
        "time": joined.time_ns[[report.row for report in rows]],
        "model": [report.model for report in rows],
        "version": [score and score.version for score in scores],
        "outcome": [report.outcome for report in rows],
        **answers.columns(None if score is None else _result(score) for score in scores),
        "error": [score and (score.error or score.detail or None) for score in scores],
        "code": [score and (report_code(score) or None) for score in scores],
        "arrived_ms": [report.arrived_ms for report in rows],
        "is_exact": [report.is_exact for report in rows],
        "queue_ms": [score and score.queue_ms for score in scores],
        "evaluation_ms": [score and score.evaluation_ms for score in scores],
    }


class _Report(NamedTuple):
    row: int
    model: str
    outcome: str | None
    score: Score | None
    arrived_ms: float | None
    is_exact: bool


def _sampled_data(recorded: Recorded) -> list[Any]:
    """Return the data of some requests, old and new ones."""
    found = []
    for source in sources(recorded.stream(INPUT)):
        for chunk in _ends(source):
            found += [_read(bytes(one.data)) for one in read_requests(chunk) if one is not None]
    return found


def _read(text: bytes) -> Any:
    try:
        return read_recorded(text)
    except UnusableJson:
        return None


class _DataColumns:
    """Turns the fields of `data` into columns `data.NAME`, as far as a sample has them.

    Numbers, texts and truths stay what they are; other values, and columns of mixed kinds, are
    JSON. If the data is no object, or has too many fields, there is one column, `data`, of JSON.
    A value of another kind than all those of the sample is null.
    """

    def __init__(self, sample: Sequence[Any]) -> None:
        self._types: dict[str, Any] = {}
        objects = [one for one in sample if isinstance(one, dict)]
        names = dict.fromkeys(name for one in objects for name in one)
        if len(objects) == len(sample) and 0 < len(names) <= FIELDS_MAX:
            self._types = {
                name: _type_of([one[name] for one in objects if one.get(name) is not None])
                for name in names
            }

    def fields(self) -> list[Any]:
        if not self._types:
            return _fields("data")
        return [
            pa.field(f"data.{name}", type_ or pa.string()) for name, type_ in self._types.items()
        ]

    def columns(self, texts: Sequence[str]) -> dict[str, Any]:
        if not self._types:
            return {"data": texts}
        rows = [_read(text.encode()) for text in texts]
        return {
            f"data.{name}": [
                _cell(row.get(name) if isinstance(row, dict) else None, type_) for row in rows
            ]
            for name, type_ in self._types.items()
        }


def _type_of(values: Sequence[Any]) -> Any:
    """Return the Arrow type of a field's values; None: they are kept as JSON."""
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float}:
        return pa.float64() if all(abs(value) <= _EXACT_MAX for value in values) else None
    if kinds == {bool}:
        return pa.bool_()
    return pa.string() if kinds == {str} else None


def _cell(value: Any, type_: Any) -> Any:
    """Return a value of a column's type; null for one of another type, which the sample lacked."""
    if value is None:
        return None
    if type_ is None:
        return orjson.dumps(value).decode()
    if type_ == pa.float64():
        return float(value) if type(value) in (int, float) else None
    return value if isinstance(value, bool if type_ == pa.bool_() else str) else None
