"""The process of a replayed model reads batches, calls `predict` and writes outcomes.

    python -m rdv.evaluation.replay.child SETTINGS        started by `evaluator.Evaluator`

Model code is loaded here and nowhere else. What it prints goes to stderr; stdin and stdout of the
process are ours, moved out of its reach. It ends when the replay ends.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from typing import Any

import msgspec

from rdv.evaluation.replay.frames import (
    ERROR,
    HEAD,
    NOTHING,
    RESULT,
    pack_outcomes,
    rows_size,
    split_rows,
)
from rdv.models import ModelNotLoaded, evaluate, open_model
from rdv.standard_streams import empty_stdin, stdout_to_stderr, write_utf8

READ_BYTES = 1024 * 1024
NOT_LOADED = 3


class Settings(msgspec.Struct, frozen=True):
    """The model to load, as the arguments of `open_model`; `lifeline` is a pipe that the replay
    holds open.
    """

    directory: str
    name: str
    opening: dict[str, Any]
    lifeline: int


class Hello(msgspec.Struct, frozen=True):
    """The first line back: what was loaded, or why nothing was."""

    version: str = ""
    takes: str = ""
    reason: str = ""
    where: str = ""
    trace: str = ""


def main() -> int:
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    _end_with(settings.lifeline)
    source, sink = _take_pipes()
    write_utf8()
    try:
        model = open_model(os.path.abspath(settings.directory), settings.name, **settings.opening)
    except ModelNotLoaded as error:
        _write(sink, _line(Hello(reason=error.reason, where=error.where, trace=error.trace)))
        return NOT_LOADED
    _write(sink, _line(Hello(model.version, model.takes)))
    gc.collect()
    gc.freeze()  # as in a worker: the collector ignores what is loaded
    with os.fdopen(source, "rb", READ_BYTES) as batches:
        while len(head := batches.read(HEAD.size)) == HEAD.size:
            rows, size_bytes = HEAD.unpack(head)
            body = batches.read(rows_size(rows, size_bytes))
            began_ns = time.perf_counter_ns()
            outcomes = evaluate(model, split_rows(rows, body))
            took_ns = time.perf_counter_ns() - began_ns
            _write(sink, pack(outcomes, took_ns))
    model.close()
    return 0


def pack(outcomes: list[Any], took_ns: int) -> bytes:
    """Return the outcomes in the form in which they are sent."""
    if all(type(outcome) is bytes for outcome in outcomes):
        return pack_outcomes(bytes(len(outcomes)), outcomes, took_ns)
    codes, texts = bytearray(), []
    for outcome in outcomes:
        if outcome is None:
            codes.append(NOTHING)
            texts.append(b"")
        elif isinstance(outcome, bytes):
            codes.append(RESULT)
            texts.append(outcome)
        else:
            codes.append(ERROR)
            texts.append(str(outcome).encode("utf-8", "backslashreplace"))
    return pack_outcomes(bytes(codes), texts, took_ns)


def _line(hello: Hello) -> bytes:
    return msgspec.json.encode(hello) + b"\n"


def _take_pipes() -> tuple[int, int]:
    """Return our ends of the pipes; the model gets an empty stdin, and stderr for stdout."""
    source, sink = os.dup(0), os.dup(1)
    empty_stdin()
    stdout_to_stderr()
    return source, sink


def _end_with(lifeline: int) -> None:
    """End at once when the replay has ended, whatever the model is doing."""

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, name="rdv-lifeline", daemon=True).start()


def _write(sink: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


if __name__ == "__main__":
    sys.exit(main())
