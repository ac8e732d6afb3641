"""Tables that are small: the quality of each model's versions, and the errors of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from rdv.analysis.dataset.chunk import read_requests, read_scores
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import ABSENT, ERROR, NOT_SAMPLED, RESULT, Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.errors import ModelNotRecorded, NothingRecorded
from rdv.analysis.export.arrow import make_batch, schema_of
from rdv.analysis.export.columns import Column
from rdv.analysis.measure import choose_measure
from rdv.analysis.measure.sides import JudgedCollector, Measured
from rdv.api.table import Table
from rdv.decision import Decision
from rdv.rendezvous.messages import Score, report_code
from rdv.rendezvous.topology import INPUT, SCORES

By = Literal["version", "model"]
Span = tuple[int | None, int | None]

GROUPS_MAX = 1_000
"""The maximum number of groups of errors, and of versions; further ones are left out."""

_METRICS = (
    Column("model", "string", "that reports"),
    Column("version", "string", "of the model; null with by='model'"),
    Column("requests", "int", "that it has reported on"),
    Column("results", "int", "of these"),
    Column("errors", "int", "of these"),
    Column("refusals", "int", "of these: it would have been too late"),
    Column("evaluation_ms", "float", "mean time of a result's batch"),
    Column("known", "int", "requests with a known outcome"),
    Column("metric", "string", "what is measured on these"),
    Column("value", "float", "of the metric; null if it cannot be had"),
    Column("low", "float", "of its 95 % interval, by key"),
    Column("high", "float", "of its 95 % interval, by key"),
    Column("note", "string", "why there is no value, or no interval"),
)
_ERRORS = (
    Column("model", "string", "that failed"),
    Column("version", "string", "of the model"),
    Column("code", "string", "of the error: see CODES.md"),
    Column("error", "string", "its text; numbers in it differ within a group"),
    Column("count", "int", "how often"),
    Column("first", "time", "when it was first recorded"),
    Column("last", "time", "when it was last recorded"),
    Column("id", "string", "of an example: the last request"),
    Column("data", "string", "JSON: what the model was given then"),
)
_DIGITS = re.compile(r"\d+")


@dataclass
class _Group:
    """The reports of one model, or of one of its versions."""

    judged: JudgedCollector
    requests: int = 0
    results: int = 0
    errors: int = 0
    refusals: int = 0
    evaluation_ms: float = 0.0


def metrics_table(
    recorded: Recorded, decision: Decision, span: Span, by: By, metric: str, on: str | None
) -> Table:
    """Return the quality of each model's versions. Raises UnknownMetric, InvalidMetric."""
    groups: dict[tuple[str, str | None], _Group] = {}
    with choose_measure(recorded, decision.outcome, on, metric, decision.value) as measure:
        outcomes = read_outcomes(recorded, Notes())
        try:
            for joined in Join(recorded, *span, extract=measure.extract):
                truths = outcomes.of(joined, measure.extract)
                for key, rows in _groups(joined, by):
                    group = groups.get(key)
                    if group is None:
                        if len(groups) >= GROUPS_MAX:
                            continue
                        group = groups[key] = _Group(JudgedCollector(measure, 1))
                    _count(group, joined, key[0], rows, truths)
        except NothingRecorded:
            pass
        rows = [_figures(key, group, measure.metric.title) for key, group in _named(groups)]
    schema = schema_of(_METRICS)
    batch = pa.RecordBatch.from_pylist(rows, schema)
    return Table("metrics", schema, lambda: iter([batch]), len(rows))


def _named(groups: dict[tuple[str, str | None], _Group]) -> Iterator[Any]:
    return iter(sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or "")))


def _groups(joined: Joined, by: By) -> Iterator[tuple[tuple[str, str | None], Any]]:
    """Yield (model, version) and the numbers of the requests that it has reported on."""
    for number, model in enumerate(joined.models):
        outcome = joined.outcome[number]
        rows = np.flatnonzero((outcome != ABSENT) & (outcome != NOT_SAMPLED))
        if by == "model":
            if len(rows):
                yield (model, None), rows
            continue
        versions: dict[str, list[int]] = {}
        for row in rows.tolist():
            score = joined.score(number, row)
            versions.setdefault("" if score is None else score.version, []).append(row)
        for version, some in versions.items():
            yield (model, version), np.array(some, np.int64)


def _count(group: _Group, joined: Joined, model: str, rows: Any, truths: Any) -> None:
    number = joined.models.index(model)
    outcome = joined.outcome[number][rows]
    results = rows[outcome == RESULT]
    group.requests += len(rows)
    group.results += len(results)
    group.errors += int((outcome == ERROR).sum())
    group.refusals += len(rows) - len(results) - int((outcome == ERROR).sum())
    for row in results.tolist():
        score = joined.score(number, row)
        group.evaluation_ms += 0.0 if score is None else score.evaluation_ms
    assert joined.value is not None
    group.judged.add(joined.take(rows), [joined.value[number][rows]], truths[rows])


def _figures(key: tuple[str, str | None], group: _Group, metric: str) -> dict[str, Any]:
    found = group.judged.judged().side(0)
    row: dict[str, Any] = {
        "model": key[0],
        "version": key[1],
        "requests": group.requests,
        "results": group.results,
        "errors": group.errors,
        "refusals": group.refusals,
        "evaluation_ms": group.evaluation_ms / group.results if group.results else None,
        "known": group.judged.known,
        "metric": metric,
    }
    if not isinstance(found, Measured):
        return {**row, "note": found.reason}
    interval = found.interval
    return {
        **row,
        "value": found.value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "note": found.reason or None,
    }


@dataclass
class _Failed:
    """One group of errors."""

    error: str
    first_ns: int
    count: int = 0
    last_ns: int = 0
    id: str = ""
    data: str | None = None


def errors_table(recorded: Recorded, model: str | None, span: Span) -> Table:
    """Return the errors of a model, or of all, grouped by version, code and text.

    Texts that differ in numbers only are of one group. Raises NothingRecorded, ModelNotRecorded.
    """
    stream = recorded.stream(SCORES)
    if stream is None:
        raise NothingRecorded(recorded.directory, "scores")
    known = sorted(stream.topics())
    if model is not None and model not in known:
        raise ModelNotRecorded(recorded.directory, model, tuple(known))
    groups: dict[tuple[str, str, str, str], _Failed] = {}
    for source in sources(stream):
        if model in (None, source.topic):
            _collect(source, span, groups)
    _add_data(recorded, groups)
    schema = schema_of(_ERRORS)
    found = sorted(groups.items(), key=lambda item: -item[1].count)
    columns: dict[str, Any] = {
        "model": [key[0] for key, _ in found],
        "version": [key[1] for key, _ in found],
        "code": [key[2] for key, _ in found],
        "error": [one.error for _, one in found],
        "count": [one.count for _, one in found],
        "first": np.array([one.first_ns for _, one in found], np.int64),
        "last": np.array([one.last_ns for _, one in found], np.int64),
        "id": [one.id for _, one in found],
        "data": [one.data for _, one in found],
    }
    batch = make_batch(schema, columns)
    return Table("errors", schema, lambda: iter([batch]), len(found))


def _collect(source: Any, span: Span, groups: dict[tuple[str, str, str, str], _Failed]) -> None:
    start = source.begin if span[0] is None else source.offset_at(span[0])
    for chunk in source.chunks(start, source.offset_at(span[1]), Notes()):
        for score, time_ns in zip(read_scores(chunk), chunk.times_ns.tolist(), strict=True):
            if score is None or score.error is None:
                continue
            key = score.model, score.version, report_code(score), _DIGITS.sub("0", score.error)
            group = groups.get(key)
            if group is None:
                if len(groups) >= GROUPS_MAX:
                    continue
                group = groups[key] = _Failed(score.error, time_ns)
            _add(group, score, time_ns)


def _add(group: _Failed, score: Score, time_ns: int) -> None:
    group.count += 1
    group.first_ns = min(group.first_ns, time_ns)
    if time_ns >= group.last_ns:
        group.last_ns, group.id, group.error = time_ns, score.id, score.error or ""


def _add_data(recorded: Recorded, groups: dict[Any, _Failed]) -> None:
    """Find the data of the examples, in one pass over the requests."""
    wanted: dict[str, list[_Failed]] = {}
    for group in groups.values():
        wanted.setdefault(group.id, []).append(group)
    for source in sources(recorded.stream(INPUT)):
        if not wanted:
            return
        for chunk in source.chunks(source.begin, source.end, Notes()):
            for request in read_requests(chunk):
                if request is not None and (found := wanted.pop(request.id, None)) is not None:
                    for group in found:
                        group.data = bytes(request.data).decode()
