"""Calls a model's `predict` so that its failures affect no other rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from rdv.models.encoding import encode_results
from rdv.models.errors import ModelError, describe
from rdv.models.model import Again, Outcome

Predict = Callable[[list[Any]], Any]


def predict_batch(
    predict: Predict, rows: list[Any], bytes_max: int, again: Again | None = None
) -> list[Outcome]:
    """Return one outcome for each row.

    When a batch raises, its rows are tried one by one, so that a bad row does not spoil the others;
    `again` makes them anew, because the model may have changed them. SystemExit and
    KeyboardInterrupt of model code are errors like any other: a worker's signals arrive through
    handlers, not as exceptions.
    """
    count = len(rows)  # the model may change the list from here on
    if not count:
        return []
    again = again or list(rows).__getitem__
    process = os.getpid()
    try:
        results = predict(rows)
    except BaseException as error:  # noqa: BLE001 - model code, anything goes
        end_if_forked(process)
        if count == 1:
            return [ModelError(describe(error))]
        return [predict_batch(predict, [again(number)], bytes_max)[0] for number in range(count)]
    end_if_forked(process)
    return _encode(results, count, bytes_max)


def end_if_forked(process: int) -> None:
    """End the process unless it is `process`.

    A process that a model has forked off and that returns from the model's code would go on as a
    second worker.
    """
    if os.getpid() != process:
        os._exit(0)


def _encode(results: Any, count: int, bytes_max: int) -> list[Outcome]:
    """Encode what `predict` returned; a result of another shape is an error of all rows."""
    try:
        items = _as_list(results)
    except BaseException as error:  # noqa: BLE001 - a generator or an array of the model's own
        return [ModelError(describe(error))] * count
    if items is None:
        what = "None" if results is None else f"a {type(results).__name__}"
        reason = f"predict returned {what}, not a list of one result for each row"
        return [ModelError(reason, "result")] * count
    if len(items) != count:
        reason = f"predict returned {len(items)} results for {count} rows"
        return [ModelError(reason, "result")] * count
    return encode_results(items, bytes_max)


def _as_list(results: Any) -> list[Any] | None:
    """Return a list for lists, tuples, and arrays whose first dimension is the rows; else None."""
    if isinstance(results, (list, tuple)):
        return list(results)
    if isinstance(results, (str, bytes, dict)) or not hasattr(results, "tolist"):
        return None
    return list(results) if getattr(results, "shape", ()) else None
