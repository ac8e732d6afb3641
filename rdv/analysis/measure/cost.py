"""The metric "value" by a table: what each action is worth, by the outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rdv.analysis.dataset.reading import (
    EQUAL_FIELDS,
    NO,
    WHOLE,
    YES,
    Reading,
    class_name,
    is_json_number,
    part_of,
    some_of,
)
from rdv.analysis.dataset.values import Extract
from rdv.analysis.measure.measure import RowMeasure
from rdv.analysis.metrics import metric_named
from rdv.decision.value import Value

Table = Mapping[str, Mapping[str, float]]


class CostMeasure(RowMeasure):
    """The value of an action and an outcome, looked up in the table of [value]."""

    def __init__(self, table: Table, extract: Extract, unit: str) -> None:
        super().__init__(metric_named("value"), extract, unit)
        self._table = table

    def of_pair(self, value: float, truth: float) -> float:
        """Return the entry of the table; NaN, and a problem, if it has none."""
        if math.isnan(value):
            return math.nan
        names = self.extract.class_names
        action, outcome = names[int(value)], names[int(truth)]
        found = self._table.get(action, {}).get(outcome)
        if found is None:
            self.problem = (
                f"cost in [value] of rdv.toml has no entry for the action {action} with the "
                f"outcome {outcome}: add it (0 if it is worth nothing)"
            )
            return math.nan
        return found

    def sentence(self) -> str:
        name = f'"{self.reading.answer}"' if self.reading.answer else "the answer"
        return f"value: cost in [value] of rdv.toml, by {name} and the outcome"


class _Sides(Extract):
    """Reads a score as the class 1 from the threshold on, else 0."""

    def of_value(self, value: Any) -> float:
        if is_json_number(value):
            return super().of_value(value >= self.reading.threshold)
        return super().of_value(value)


def cost_measure(
    answers: Sequence[Any], reading: Reading, value: Value, on: str | None
) -> CostMeasure:
    """Return the measure of a table of costs, for answers like these."""
    table = {
        action: {outcome: worth for name, worth in row.items() if (outcome := class_name(name))}
        for given, row in value.cost.items()
        if (action := class_name(given))
    }
    base = replace(reading, kind="class", means={}, problem="")
    field, said = _field(answers, set(table), on)
    if field is not None:
        return CostMeasure(table, Extract(replace(base, answer=field)), value.unit)
    if set(table) <= {YES, NO} and reading.kind == "probability":
        return CostMeasure(table, _Sides(replace(base, answer=reading.answer)), value.unit)
    found = CostMeasure(table, Extract(base), value.unit)
    found.problem = (
        f"answers say {some_of(said) if said else 'no class'}, and cost in [value] of rdv.toml is "
        f"of {some_of(set(table))}: name the field of the action with --on"
    )
    return found


def _field(
    answers: Sequence[Any], actions: set[str], on: str | None
) -> tuple[str | None, set[str]]:
    """Return the field of the answers that names actions of the table, and all that is named."""
    said = set[str]()
    for name in [on] if on is not None else [*EQUAL_FIELDS, WHOLE]:
        parts = {
            part
            for answer in answers
            if isinstance(answer, dict) == (name != WHOLE)
            and (part := class_name(part_of(answer, name))) is not None
        }
        if parts & actions:
            return name, said
        said |= parts
    return None, said
