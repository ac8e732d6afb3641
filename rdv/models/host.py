"""Run a model in another interpreter, in which rdv is not installed: `rdv.models.hosted` starts it.

    .venv-gbm/bin/python rdv/models/host.py SETTINGS

This file is run by its path, with Python 3.8 or later, and imports the standard library only. It
loads a Python file with predict(rows), or a model file by an adapter (`rdv.models.adapters`), which
is run by its path as well. Model code gets an empty stdin, and stderr for its stdout.

Frames: a batch has two u32 (rows, bytes) and a JSON array of the rows. An answer has one byte (what
it is), a u32 (bytes) and JSON: HELLO an object, once; RESULTS an array of results; MIXED an array
of [0, result] or [cause, reason].
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
import struct
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

BATCH = struct.Struct("<II")
ANSWER = struct.Struct("<BI")
HELLO, RESULTS, MIXED = 0, 1, 2
RESULT, EXCEPTION, INVALID, DATA, INPUT, MEMORY = 0, 1, 2, 3, 4, 5
"""Codes in MIXED: a result; the model raised; it returned no result; the row is not JSON; the model
says that the input is at fault; there is no memory left.
"""
INPUT_ERRORS: set[str] = set()
"""The names of exceptions that say so: a class, or one of a module."""
NOT_LOADED = 3
"""The exit code after a HELLO that says why the model cannot be loaded."""
REASON_CHARACTERS = 500
PASSING = ("connect", "timeout", "timedout", "unavailable", "rpcerror", "transport", "network")


def main() -> int:
    """Load the model, say so, and evaluate batches until stdin ends."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    settings = json.loads(sys.argv[1])
    sys.argv[1:] = []
    INPUT_ERRORS.update(settings["input_errors"], ["InputError"])
    source, sink = take_pipes()
    try:
        model = load(settings)
    except BaseException as error:  # noqa: BLE001 - model code
        write(sink, HELLO, dumped(refusal(error, here)))
        return NOT_LOADED
    process = os.getpid()
    hello = {"version": str(getattr(model, "version", "") or ""), **described(model)}
    write(sink, HELLO, dumped(hello))
    with os.fdopen(source, "rb") as batches:
        while True:
            head = batches.read(BATCH.size)
            if len(head) < BATCH.size:
                break
            count, size = BATCH.unpack(head)
            code, body = evaluated(model.predict, batches.read(size), count)
            if os.getpid() != process:
                os._exit(0)  # the model has forked, and this is the copy
            write(sink, code, body)
    close = getattr(model, "close", None)
    if callable(close):
        close()
    return 0


def take_pipes() -> tuple[int, int]:
    """Return this program's ends of the pipes, out of the model's reach."""
    source, sink = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return source, sink


def load(settings: dict[str, Any]) -> Any:
    """Return the loaded model. Raises what its code or its library raises."""
    path = settings["path"]
    sys.dont_write_bytecode = True  # else a cached module could hide an edit
    if settings["adapter"]:
        return run_file("rdv_adapter", settings["adapter"]).load(path, settings["options"])
    folder = os.path.dirname(path)
    sys.path.insert(0, folder)
    try:
        module = run_file("rdv_model", path)
    finally:
        sys.path.remove(folder)
        sys.path.append(folder)  # behind the libraries: a model may import its siblings later
    if not callable(getattr(module, "predict", None)):
        raise TypeError("it has no function predict(rows)")
    if callable(getattr(module, "load", None)):
        module.load()
    return module


def run_file(name: str, path: str) -> Any:
    """Run a Python file as the module `name`."""
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - running model code is what this is for
    return module


def described(model: Any) -> dict[str, list[Any]]:
    """Return the model's columns and notes, as far as they can be sent."""
    found = {}
    for key in ("columns", "notes", "files"):
        try:
            value: Any = getattr(model, key, None)
            if callable(getattr(value, "tolist", None)):
                value = value.tolist()
            if isinstance(value, dict):
                value = list(value.items())
            found[key] = json.loads(dumped(list(value or ())))
        except Exception:  # noqa: BLE001 - model code
            found[key] = []
    return found


def refusal(error: BaseException, here: str) -> dict[str, Any]:
    """Return why the model cannot be loaded, with the traceback of its own lines."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(here)]
    missing = (getattr(error, "name", None) or "") if isinstance(error, ImportError) else ""
    return {
        "reason": described_error(error),
        "trace": "".join(traceback.format_list(own)),
        "may_pass": may_pass(error),
        "missing": missing.partition(".")[0],
    }


def may_pass(error: BaseException | None) -> bool:
    """Return whether it may be loaded later though nothing is edited: rdv.models.model.may_pass."""
    if isinstance(error, (ImportError, SyntaxError)):
        return False
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        names = [kind.__name__.lower() for kind in type(error).__mro__]
        if isinstance(error, (OSError, MemoryError)) or "subprocesserror" in names:
            return True
        if any(word in name for name in names for word in PASSING):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def evaluated(predict: Callable[[list[Any]], Any], body: bytes, count: int) -> tuple[int, bytes]:
    """Return an answer for a batch. A row that fails affects no other row."""
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        return MIXED, same(DATA, "the data is not JSON: " + described_error(error), count)
    if len(rows) != count:
        return MIXED, same(DATA, "the data is not JSON: one row is several values", count)
    try:
        results = predict(rows)
    except BaseException as error:  # noqa: BLE001 - model code
        if count == 1:
            return MIXED, same(*raised(error), 1)
        fresh = json.loads(body)  # the model may have changed the rows
        answers = [one_by_one(predict, row) for row in fresh]
        return MIXED, ("[" + ",".join(answers) + "]").encode()
    return encoded(results, count)


def one_by_one(predict: Callable[[list[Any]], Any], row: Any) -> str:
    """Return the answer for a row of a batch that has failed, as an item of MIXED."""
    try:
        results = predict([row])
    except BaseException as error:  # noqa: BLE001 - model code
        return dumped(raised(error)).decode()
    code, body = encoded(results, 1)
    if code == MIXED:
        return body.decode()[1:-1]
    return f"[{RESULT},{body.decode()[1:-1]}]"


def raised(error: BaseException) -> tuple[int, str]:
    """Return the code and the reason of an exception of the model."""
    for kind in type(error).__mro__:
        if INPUT_ERRORS & {kind.__name__, kind.__module__ + "." + kind.__qualname__}:
            text = described_error(error)
            return INPUT, text.removeprefix("InputError: ")
    code = MEMORY if isinstance(error, MemoryError) else EXCEPTION
    return code, described_error(error)


def encoded(results: Any, count: int) -> tuple[int, bytes]:
    """Return the answer for what `predict` has returned."""
    try:
        items = as_list(results)
    except BaseException as error:  # noqa: BLE001 - model code
        return MIXED, same(EXCEPTION, described_error(error), count)
    if items is None:
        what = "None" if results is None else "a " + type(results).__name__
        reason = f"predict returned {what}, not a list of one result for each row"
        return MIXED, same(INVALID, reason, count)
    if len(items) != count:
        reason = f"predict returned {len(items)} results for {count} rows"
        return MIXED, same(INVALID, reason, count)
    try:
        if not any(one is None for one in items):
            return RESULTS, dumped(items)
    except Exception:  # noqa: BLE001, S110 - one of them is not JSON, and is found below
        pass
    return MIXED, ("[" + ",".join(map(item, items)) + "]").encode()


def as_list(results: Any) -> list[Any] | None:
    """Return a list for lists, tuples, and arrays whose first dimension is the rows; else None."""
    if isinstance(results, (list, tuple)):
        return list(results)
    if isinstance(results, (str, bytes, dict)) or not hasattr(results, "tolist"):
        return None
    return list(results) if getattr(results, "shape", ()) else None


def item(value: Any) -> str:
    """Return the item of MIXED for one result."""
    try:
        found = "result is None" if value is None else not_finite(value, "result")
        if found:
            return dumped([INVALID, "the model's " + found]).decode()
        try:
            text = dumped(value)
        except TypeError:
            text = dumped(with_plain_keys(value))
        return f"[{RESULT},{text.decode()}]"
    except Exception as error:  # noqa: BLE001 - model code
        return dumped(
            [INVALID, "the model's result is not JSON: " + described_error(error)]
        ).decode()


def not_finite(value: Any, where: str) -> str:
    """Return where in `value` there is a number that is not finite, and what it is."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{where} is {float(value)}"
    if isinstance(value, dict):
        parts: list[tuple[str, Any]] = [("." + str(key), one) for key, one in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = [(f"[{number}]", one) for number, one in enumerate(value)]
    elif isinstance(value, enum.Enum):
        parts = [("", value.value)]
    elif dataclasses.is_dataclass(value):
        parts = [("." + one.name, getattr(value, one.name)) for one in dataclasses.fields(value)]
    elif callable(getattr(value, "tolist", None)):
        parts = [("", value.tolist())]
    else:
        parts = []
    for suffix, one in parts:
        found = not_finite(one, where + suffix)
        if found:
            return found
    return ""


def with_plain_keys(value: Any) -> Any:
    """Convert numpy scalars among the keys: `dict(zip(model.classes_, shares))` has such keys."""
    if isinstance(value, dict):
        return {
            key.item() if hasattr(key, "item") else key: with_plain_keys(one)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [with_plain_keys(one) for one in value]
    return value


def plain(value: Any) -> Any:
    """Convert what the json module does not know."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    for name in ("tolist", "isoformat"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    if type(value).__name__ == "UUID":
        return str(value)
    raise TypeError(type(value).__name__ + " has no JSON form")


def dumped(value: Any) -> bytes:
    """Return JSON. Raises ValueError for NaN, TypeError for what has no JSON form."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=plain).encode()


def same(code: int, reason: str, count: int) -> bytes:
    """Return the body of MIXED with the same error for every row."""
    return dumped([[code, reason]] * count)


def described_error(error: BaseException) -> str:
    """Return an exception as one line. Its `str()` may raise as well."""
    try:
        text = str(error)
    except BaseException as worse:  # noqa: BLE001 - model code
        text = f"(its text cannot be made: {type(worse).__name__})"
    name = type(error).__name__
    line = " ".join((name + ": " + text if text else name).split())
    line = line.encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "\u2026"


def write(sink: int, code: int, body: bytes) -> None:
    """Write an answer."""
    rest = memoryview(ANSWER.pack(code, len(body)) + body)
    while rest:
        rest = rest[os.write(sink, rest) :]


if __name__ == "__main__":
    sys.exit(main())
