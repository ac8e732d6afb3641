"""Evaluate batches of requests with a model, so that a row that fails affects no other row.

Results are encoded as JSON, or as an error. In every stage it is done in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson

from rdv.models.model import Again, InputErrors, Model, ModelError, Outcome, describe, shortened
from rdv.payload import DEPTH_MAX, LARGE_FLOAT, PLAIN, look
from rdv.rendezvous.messages import (
    RESULT_BYTES_MAX,
    InvalidModelResult,
    check_result_json,
    encode_model_result,
    one_line,
)

_skip = msgspec.json.Decoder(msgspec.Raw).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_LF, _CR = b"\n\r"

RAISED_ONLY = InputErrors()
"""Only `rdv.InputError` says that the input is at fault."""

Predict = Callable[[list[Any]], Any]


def encode_results(values: Sequence[object], bytes_max: int) -> list[Outcome]:
    """Encode each value as `encode_result`; usual batches are checked in one pass."""
    if len(values) == 1:
        return [encode_result(values[0], bytes_max)]
    try:
        texts = [orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY) for value in values]
        together = b"[%b]" % b",".join(texts)
        if (
            b"null" not in together
            and len(together) <= bytes_max
            and not (_LF in together or _CR in together)
            and together.isascii()
            and look(together, DEPTH_MAX) == PLAIN
            and list(map(bytes, _split(together))) == texts
        ):
            return list(texts)
    except (TypeError, msgspec.DecodeError):
        pass
    return [encode_result(value, bytes_max) for value in values]


def encode_result(value: object, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """Return a result as JSON: plain values, numpy values, sets, objects with `tolist`."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return _encode_carefully(value, bytes_max)
    # NaN is written as null, and an orjson.Fragment is copied as it is, whatever it contains.
    if b"null" in text or len(text) > bytes_max or not _is_json(text):
        return _encode_carefully(value, bytes_max)
    return one_line(text) if _LF in text or _CR in text else text


def _is_json(text: bytes) -> bool:
    """Check as `read_json` what orjson has written; build the value only where necessary."""
    found = look(text, DEPTH_MAX)
    try:
        if found == PLAIN:
            _skip(text)
            return text.isascii() or bool(text.decode())
        return found == LARGE_FLOAT and orjson.loads(text) is not None
    except (msgspec.DecodeError, ValueError):
        return False


def _encode_carefully(value: object, bytes_max: int) -> bytes | ModelError:
    try:
        return one_line(bytes(encode_model_result(value, bytes_max)))
    except InvalidModelResult as error:
        return ModelError(shortened(error.text()), "result")
    except Exception as error:  # noqa: BLE001 - a model's own objects may raise anything
        return ModelError(shortened(f"the model's result is not JSON: {describe(error)}"), "result")


def check_results(together: bytes, count: int, bytes_max: int) -> list[Outcome]:
    """Check a JSON array of results that a model wrote itself; usual ones in one pass.

    Raises ValueError (msgspec.DecodeError) when it is not an array of `count` values.
    """
    texts = _split(together)
    if len(texts) != count:
        raise ValueError(f"{len(texts)} results for {count} rows")
    if (
        b"null" not in together
        and len(together) <= bytes_max
        and not (_LF in together or _CR in together)
        and together.isascii()
        and look(together, DEPTH_MAX) == PLAIN
    ):
        return list(map(bytes, texts))
    return [check_result(bytes(text), bytes_max) for text in texts]


def check_result(text: bytes, bytes_max: int = RESULT_BYTES_MAX) -> bytes | ModelError:
    """Check the JSON that a model wrote itself, and keep it; line breaks in it become spaces."""
    try:
        return one_line(bytes(check_result_json(text, bytes_max)))
    except InvalidModelResult as error:
        return ModelError(shortened(error.text()), "result")


def predict_batch(
    predict: Predict,
    rows: list[Any],
    bytes_max: int,
    again: Again | None = None,
    input_errors: InputErrors = RAISED_ONLY,
) -> list[Outcome]:
    """Return one outcome for each row.

    When a batch raises, its rows are tried one by one, so that a bad row does not spoil the others;
    `again` makes them anew, because the model may have changed them. SystemExit and
    KeyboardInterrupt of model code are errors like any other: a worker's signals arrive through
    handlers, not as exceptions.
    """
    count = len(rows)  # the model may change the list from here on
    if count <= 1:
        return [_predict_one(predict, rows, bytes_max, input_errors)] if count else []
    again = again or list(rows).__getitem__
    process = os.getpid()
    try:
        results = predict(rows)
    except BaseException:  # noqa: BLE001 - model code, anything goes
        end_if_forked(process)
        return [
            _predict_one(predict, [again(number)], bytes_max, input_errors)
            for number in range(count)
        ]
    end_if_forked(process)
    return encode_batch(results, count, bytes_max)


def _predict_one(
    predict: Predict, row: list[Any], bytes_max: int, input_errors: InputErrors
) -> Outcome:
    """Return the outcome of the only row of a batch."""
    process = os.getpid()
    try:
        results = predict(row)
    except BaseException as error:  # noqa: BLE001 - model code, anything goes
        end_if_forked(process)
        return input_errors.error(error)
    if os.getpid() != process:
        os._exit(0)
    if type(results) is list and len(results) == 1:
        return encode_result(results[0], bytes_max)
    return encode_batch(results, 1, bytes_max)[0]


def end_if_forked(process: int) -> None:
    """End the process unless it is `process`.

    A process that a model has forked off and that returns from the model's code would go on as a
    second worker.
    """
    if os.getpid() != process:
        os._exit(0)


def encode_batch(results: Any, count: int, bytes_max: int) -> list[Outcome]:
    """Encode what `predict` returned; a result of another shape is an error of all rows."""
    try:
        items = results if type(results) is list else _as_list(results)
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


def evaluate(model: Model, rows: Sequence[bytes | msgspec.Raw]) -> list[Outcome]:
    """Return one outcome for each row: a request's `data`, or for `takes = "lines"` its whole line.

    What cannot be parsed is an error of its row alone. For the model's thread; raises nothing.
    """
    if model.takes != "values":
        return model.predict([bytes(row) for row in rows])
    predict_texts = getattr(model, "predict_texts", None)
    if predict_texts is not None and (outcomes := predict_texts(list(rows))) is not None:
        return outcomes  # type: ignore[no-any-return]
    if len(rows) == 1:
        return [_evaluate_one(model, rows[0])]
    try:
        values = orjson.loads(b"[%b]" % b",".join(rows))
    except orjson.JSONDecodeError:
        values = []
    if len(values) != len(rows):
        # Not JSON, or more than one value, as in `1,2`: that must not shift the other rows.
        return [_evaluate_one(model, row) for row in rows]
    # A model may change the rows that it gets: for another attempt they are parsed again.
    return model.predict(values, lambda number: orjson.loads(bytes(rows[number])))


def _evaluate_one(model: Model, row: bytes | msgspec.Raw) -> Outcome:
    try:
        value = orjson.loads(memoryview(row))
    except orjson.JSONDecodeError as error:
        return ModelError(f"the data is not JSON: {error}", "data")
    return model.predict([value])[0]
