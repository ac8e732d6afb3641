"""Evaluates the JSON of requests with a model, in the same way in every stage."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from rdv.models.errors import ModelError
from rdv.models.model import Model, Outcome


def evaluate(model: Model, rows: Sequence[bytes | msgspec.Raw]) -> list[Outcome]:
    """Return one outcome for each row: a request's `data`, or for `takes = "lines"` its whole line.

    What cannot be parsed is an error of its row alone. For the model's thread; raises nothing.
    """
    if model.takes != "values":
        return model.predict([bytes(row) for row in rows])
    try:
        values = orjson.loads(b"[%b]" % b",".join(rows))
    except orjson.JSONDecodeError:
        values = []
    if len(values) != len(rows):
        # Not JSON, or more than one value, as in `1,2`: that must not shift the other rows.
        return [_evaluate_one(model, row) for row in rows]
    # A model may change the rows that it gets: for another attempt they are parsed again.
    return model.predict(values, lambda number: orjson.loads(rows[number]))


def _evaluate_one(model: Model, row: bytes | msgspec.Raw) -> Outcome:
    try:
        value = orjson.loads(bytes(row))
    except orjson.JSONDecodeError as error:
        return ModelError(f"the data is not JSON: {error}", "data")
    return model.predict([value])[0]
