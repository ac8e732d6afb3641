"""Choose by what recorded answers are measured: the metric, and the part of an answer it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import (
    BINARY,
    CAUSED,
    Kind,
    Reading,
    classes_of,
    infer,
    list_field,
    number_field,
    number_of,
    sample_answers,
    sample_truths,
    some_of,
)
from rdv.analysis.dataset.values import Extract, Rankings, extract_of
from rdv.analysis.measure.cost import cost_measure
from rdv.analysis.measure.lists import ListMeasure
from rdv.analysis.measure.measure import Measure
from rdv.analysis.metrics import Metric, metric_named
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value

DEFAULTS: Mapping[Kind, str] = {
    "class": "accuracy",
    "probability": "accuracy",
    "number": "mae",
    "ranking": "ndcg@10",
}
"""The metric by what is judged, where neither --metric nor [outcome] names one."""
ROBUST: Mapping[Kind, str] = {
    "class": "balanced-accuracy",
    "probability": "roc-auc",
    "number": "mae",
    "ranking": "ndcg@10",
}
"""The same where rare classes must not fool: for promises, limits and the gate."""
_RANKINGS = "ndcg@k, hit-rate@k, precision@k and mrr"


def choose_measure(
    recorded: Recorded,
    outcome: Outcome = INFERRED,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    defaults: Mapping[Kind, str] = DEFAULTS,
) -> Measure:
    """Return the measure for what is recorded.

    `outcome` and `value` are the sections of rdv.toml, `on` the only field of the answers that
    counts. `metric` precedes the one of [outcome], and that the `defaults`. Raises UnknownMetric,
    InvalidMetric, and the log's SystemFaults.
    """
    name = metric or outcome.metric
    if name:
        metric_named(name)  # a wrong name is an error before anything is read
    answers, truths = sample_answers(recorded), sample_truths(recorded)
    return measure_for(answers, truths, outcome, on, name, value, recorded.directory, defaults)


def usual_measure(extract: Extract) -> Measure:
    """Return the usual measure of answers that are read already."""
    reading = extract.reading
    if reading.kind == "ranking":
        return ListMeasure(metric_named(DEFAULTS["ranking"]), reading)
    return Measure(metric_named(DEFAULTS[reading.kind]), extract, reading.problem)


def measure_for(
    answers: Sequence[Any],
    truths: Sequence[Any],
    declared: Outcome = INFERRED,
    on: str | None = None,
    name: str = "",
    value: Value = UNDECLARED,
    directory: str = "",
    defaults: Mapping[Kind, str] = DEFAULTS,
) -> Measure:
    """Return the measure for such answers and outcomes. Raises UnknownMetric, InvalidMetric."""
    reading = infer(answers, truths, declared, on)
    metric = metric_named(name or declared.metric or defaults[reading.kind])
    if metric.name == "value":
        worth = _of_value(answers, reading, on, value, directory)
        return _refused(worth) if declared.caused_by_answer else worth
    if reading.kind == "ranking" and metric.name.startswith("precision@k="):
        metric = metric_named(metric.name.replace("precision@k=", "list-precision@"))
    if metric.needs == "list":
        if reading.kind != "ranking":
            asked = msgspec.structs.replace(declared, type="ranking")
            reading = infer(answers, truths, asked, on if on is not None else _list_answer(answers))
        return ListMeasure(metric, reading)
    if reading.kind == "ranking":
        problem = f"{metric.name} is no metric of rankings: {_RANKINGS} are"
        return Measure(metric, Rankings(reading), problem)
    if metric.needs == "class":
        return _of_classes(metric, reading, truths)
    kind = "number" if metric.needs == "number" else "probability"
    field = number_field(answers, on if on is not None else declared.answer or None)
    if field is None and on is None:
        field = number_field(answers, None)
    problem = reading.problem if kind == "probability" and not truths else ""
    if reading.kind != kind:
        forced = msgspec.structs.replace(declared, type=kind, answer="")
        reading = infer(answers, truths, forced, field)
    if field is None and answers:
        where = f"in the field {on!r}" if on is not None else "such as a score"
        problem = f"{metric.name} needs a number {where}, and no answer has one"
    return Measure(metric, Extract(reading), problem or _unfit(metric, reading, truths))


def _of_classes(metric: Metric, reading: Reading, truths: Sequence[Any]) -> Measure:
    problem = reading.problem
    if not problem and reading.kind == "number":
        problem = f"{metric.name} needs classes, and the outcomes are numbers"
    if not problem and metric.name == "f1" and reading.kind == "class":
        problem = _unfit(metric, reading, truths)
    return Measure(metric, Extract(reading), problem)


def _unfit(metric: Metric, reading: Reading, truths: Sequence[Any]) -> str:
    """Return why the outcomes do not fit the metric; empty if they do."""
    if reading.problem:
        return reading.problem
    classes = classes_of(truths, reading.truth, reading.answer)
    if metric.needs == "number":
        words = {one for one in classes if number_of(one) != number_of(one)}
        return f"{metric.name} needs numbers, and outcomes say {some_of(words)}" if words else ""
    if not classes or classes <= BINARY or reading.positive in classes:
        return ""
    return (
        f"{metric.name} needs to know which outcome is positive, and outcomes say "
        f"{some_of(classes)}: declare positive in [outcome] of rdv.toml"
    )


def _list_answer(answers: Sequence[Any]) -> str | None:
    """Return the field that is a list, also where [outcome] names another one."""
    return list_field(answers, None)


def _refused(measure: Measure) -> Measure:
    """Return the measure without outcomes, because the answer given causes them."""
    measure.problem = measure.problem or CAUSED
    measure.extract.reading = replace(measure.extract.reading, problem=CAUSED)
    return measure


def _of_value(
    answers: Sequence[Any], reading: Reading, on: str | None, value: Value, directory: str
) -> Measure:
    if value.cost and value.function:
        problem = "[value] of rdv.toml declares cost and function: remove one of them"
        return Measure(metric_named("value"), extract_of(reading), problem)
    if value.cost:
        return cost_measure(answers, reading, value, on)
    if value.function:
        from rdv.analysis.measure.function import FunctionMeasure

        return FunctionMeasure(reading, value, directory)
    problem = "what an answer is worth is not declared: cost or function in [value] of rdv.toml"
    return Measure(metric_named("value"), extract_of(reading), problem)
