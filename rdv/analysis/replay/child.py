"""The process of a replayed model: it reads batches, calls `predict` and writes outcomes.

    python -m rdv.analysis.replay.child SETTINGS        started by `evaluator.Evaluator`

Model code is loaded here and nowhere else. What it prints goes to stderr; stdin and stdout of the
process are moved out of its reach. It ends when the replay ends.

Frames: a batch has two u32 (rows, bytes), the length of each row (u32), then the rows with commas
in between, so that all can be read as one JSON array. Outcomes have rows, bytes, the time of the
evaluation in ns (u64), a code and a length for each row, then their texts.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import msgspec

from rdv.models import Model, ModelNotLoaded, Outcome, Takes, evaluate, open_model
from rdv.models.batch import predict_batch
from rdv.models.columns import Column, columns_of
from rdv.models.model import Again, kind_of
from rdv.models.python_file import load_module, not_loaded
from rdv.rendezvous.messages import RESULT_BYTES_MAX
from rdv.system.limits import limit_memory, resident_bytes
from rdv.system.orphans import adopt_orphans, end_descendants, reap_abandoned
from rdv.system.standard_streams import empty_stdin, stdout_to_stderr, write_utf8

HEAD = struct.Struct("<II")
BACK = struct.Struct("<IIQ")
RESULT, ERROR, NOTHING = range(3)
VALUE = "value"
"""The setting of a function, FILE.py:NAME, which is called for each row instead of a model."""
_U32 = 4
READ_BYTES = 1024 * 1024
NOT_LOADED = 3


class Evaluated(NamedTuple):
    """A batch's outcomes: for each row a code, and the result's JSON or the error's text."""

    codes: bytes
    texts: list[bytes]
    took_ns: int


def pack_rows(rows: Sequence[bytes]) -> bytes:
    """Pack a batch for the model's process."""
    blob = b",".join(rows)
    return b"".join((HEAD.pack(len(rows), len(blob)), _lengths(rows), blob))


def rows_size(rows: int, size_bytes: int) -> int:
    """Return the number of bytes after the head of a batch."""
    return rows * _U32 + size_bytes


def split_rows(rows: int, body: bytes) -> list[bytes]:
    """Split the body into rows."""
    lengths = array("I", body[: rows * _U32])
    starts = accumulate((length + 1 for length in lengths), initial=rows * _U32)
    return [body[at : at + length] for at, length in zip(starts, lengths, strict=False)]


def pack_outcomes(codes: bytes, texts: Sequence[bytes], took_ns: int) -> bytes:
    """Pack a batch's outcomes for the replay."""
    blob = b"".join(texts)
    return b"".join((BACK.pack(len(codes), len(blob), took_ns), codes, _lengths(texts), blob))


def outcomes_size(buffer: bytes | bytearray, at: int) -> int:
    """Return the number of bytes of the outcomes that begin at `at`; 0 if they are incomplete."""
    if len(buffer) - at < BACK.size:
        return 0
    rows, size_bytes, _ = BACK.unpack_from(buffer, at)
    whole = int(BACK.size + rows * (1 + _U32) + size_bytes)
    return whole if len(buffer) - at >= whole else 0


def unpack_outcomes(data: bytes) -> Evaluated:
    """Unpack what `pack_outcomes` made."""
    rows, _, took_ns = BACK.unpack_from(data)
    codes_end = BACK.size + rows
    start = codes_end + rows * _U32
    ends = accumulate(array("I", data[codes_end:start]), initial=start)
    return Evaluated(data[BACK.size : codes_end], [data[a:b] for a, b in pairwise(ends)], took_ns)


def _lengths(texts: Sequence[bytes]) -> bytes:
    return array("I", map(len, texts)).tobytes()


class Settings(msgspec.Struct, frozen=True):
    """The arguments of `open_model`; `lifeline` is a pipe that the replay holds open."""

    directory: str
    name: str
    opening: dict[str, Any]
    lifeline: int
    memory_max_bytes: int = 0
    """The limit of the process's memory; 0: none."""


class Hello(msgspec.Struct, frozen=True):
    """The first line back: what was loaded, or why nothing was."""

    version: str = ""
    takes: str = ""
    reason: str = ""
    where: str = ""
    trace: str = ""
    kind: str = ""
    columns: list[Column] = []
    notes: list[str] = []
    base_bytes: int = 0
    """The resident memory of the process before the model was loaded."""


def main() -> int:
    """Load the model and evaluate batches until stdin ends; end what the model has started."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    adopts = adopt_orphans()
    _end_with(settings.lifeline, adopts=adopts)
    try:
        return _run(settings)
    finally:
        if adopts:
            end_descendants()


def _run(settings: Settings) -> int:
    source, sink = _take_pipes()
    write_utf8()
    base_bytes = resident_bytes()
    limit_memory(settings.memory_max_bytes)
    try:
        model = _opened(settings)
    except ModelNotLoaded as error:
        _write(sink, _line(Hello(reason=error.reason, where=error.where, trace=error.trace)))
        return NOT_LOADED
    hello = Hello(
        model.version,
        model.takes,
        kind=kind_of(model),
        columns=columns_of(model),
        notes=list(getattr(model, "notes", ())),
        base_bytes=base_bytes,
    )
    _write(sink, _line(hello))
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


def _opened(settings: Settings) -> Model:
    directory = os.path.abspath(settings.directory)
    if VALUE in settings.opening:
        return Function(directory, settings.opening[VALUE])
    return open_model(directory, settings.name, **settings.opening)


class Function:
    """A function of a Python file as a model: a row is the list of its arguments."""

    takes: Takes = "values"
    version = ""

    def __init__(self, directory: str, spec: str) -> None:
        """Run the file of `spec`, FILE.py:NAME. Raises ModelNotLoaded."""
        path, _, name = spec.rpartition(":")
        place = os.path.join(directory, path)
        if not os.path.isfile(place):
            raise ModelNotLoaded(spec, path, "there is no such file")
        try:
            function = getattr(load_module("value", place), name, None)
        except BaseException as error:  # noqa: BLE001 - the user's code, anything goes
            raise not_loaded(spec, path, error) from None
        if not callable(function):
            raise ModelNotLoaded(spec, path, f"it has no function {name}")
        self._call: Callable[..., Any] = function

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Return the function's value for each row. See Model."""
        call = self._call
        return predict_batch(
            lambda some: [call(*row) for row in some], rows, RESULT_BYTES_MAX, again
        )

    def close(self) -> None:
        """Do nothing: the process ends."""


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


def _end_with(lifeline: int, *, adopts: bool) -> None:
    """End at once with all descendants when the replay has ended, whatever the model is doing."""

    def watch() -> None:
        os.read(lifeline, 1)
        if adopts:
            end_descendants()
        os._exit(1)

    if adopts:
        reap_abandoned()
    threading.Thread(target=watch, name="rdv-lifeline", daemon=True).start()


def _write(sink: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


if __name__ == "__main__":
    sys.exit(main())
