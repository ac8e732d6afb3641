"""Load a model once, in a process of its own, and measure it: `rdv model add`, `rdv model inspect`.

The process has a clean environment and ends with all that the model has started. Its time is
bounded by the model's own limits, its memory by `memory_max`, or by what the machine has free.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import msgspec
import psutil

from rdv.analysis.errors import ModelKeepsEnding
from rdv.analysis.replay.child import RESULT
from rdv.analysis.replay.evaluator import Evaluator, Loading
from rdv.decision import Decision, ModelConfig
from rdv.decision.recorded import recent_data
from rdv.models.columns import Column, made_row
from rdv.models.model import ModelNotLoaded
from rdv.models.open import prepare_interpreter
from rdv.rendezvous.topology import INPUT
from rdv.stream import open_stream
from rdv.stream.errors import StreamNotFound

MANY = 100
"""The rows of the larger batch that is timed."""
REPEATS = 5
ENOUGH_S = 1.0
"""A batch is not repeated any more after this time."""


class Facts(msgspec.Struct, frozen=True):
    """What was found out about a model by loading it and by asking it once. Times are in ms."""

    kind: str
    version: str
    load_ms: float
    memory_bytes: int
    """The resident memory that the process, with its children, has gained by the model."""
    columns: list[Column] = []
    """Empty when the model does not know its columns."""
    rows: str = ""
    """What it was asked: "recorded" requests, a row "made" from its columns, or nothing."""
    first_ms: float | None = None
    """The first row: late imports and compilation included."""
    row_ms: float | None = None
    """One row, after the first."""
    rows_100_ms: float | None = None
    """A batch of 100 rows."""
    notes: list[str] = []
    """What the kind of file has to say, as that loading it runs code."""
    failed: str = ""
    """Why a row had no result; the model is loaded all the same."""


def model_facts(decision: Decision, name: str, model: ModelConfig) -> Facts:
    """Load the model and ask it. Raises ModelNotLoaded, with the words of what loads it."""
    prepare_interpreter(decision.directory, name, **model.opening())
    began_s = time.monotonic()
    loading = Loading(
        decision.directory,
        name,
        model.opening(),
        model.start_timeout_ms,
        model.predict_timeout_ms,
        (*decision.env, *model.variables),
        memory_max_bytes=free_bytes(),
    )
    with Evaluator(loading) as evaluator:
        load_ms = (time.monotonic() - began_s) * 1000
        hello = evaluator.hello
        load_ms = round(load_ms, 1)
        facts = Facts(hello.kind, hello.version, load_ms, 0, hello.columns, notes=hello.notes)
        rows, said = _rows(decision, hello.columns)
        if rows:
            facts = _timed(evaluator, msgspec.structs.replace(facts, rows=said), rows)
        memory = max(0, _resident_bytes(evaluator.pid) - hello.base_bytes)
    return msgspec.structs.replace(facts, memory_bytes=memory)


def free_bytes() -> int:
    """Return how much memory the machine can give to another process."""
    return int(psutil.virtual_memory().available)


def _rows(decision: Decision, columns: Sequence[Column]) -> tuple[list[bytes], str]:
    """Return up to MANY rows, and where they are from."""
    try:
        with open_stream(decision.stream_path(INPUT), look=True) as stream:
            if found := recent_data(stream, MANY):
                return found, "recorded"
    except StreamNotFound:
        pass
    return ([made_row(columns)], "made") if columns else ([], "")


def _timed(evaluator: Evaluator, facts: Facts, rows: Sequence[bytes]) -> Facts:
    many = [rows[number % len(rows)] for number in range(MANY)]
    try:
        first = evaluator.evaluate(rows[:1])
        facts = msgspec.structs.replace(facts, first_ms=_ms(first.took_ns))
        if first.codes != bytes([RESULT]):
            said = first.texts[0].decode("utf-8", "replace") or "it answered nothing"
            return msgspec.structs.replace(facts, failed=said, first_ms=None)
        row_ms = _median_ms(evaluator, rows[:1])
        return msgspec.structs.replace(
            facts, row_ms=row_ms, rows_100_ms=_median_ms(evaluator, many)
        )
    except ModelKeepsEnding as error:
        return msgspec.structs.replace(facts, failed=error.text())
    except ModelNotLoaded as error:
        return msgspec.structs.replace(facts, failed=error.reason)


def _median_ms(evaluator: Evaluator, rows: Sequence[bytes]) -> float | None:
    """Return the median of some evaluations; None if one of them had to be ended."""
    took: list[int] = []
    until_s, ends = time.monotonic() + ENOUGH_S, evaluator.ends
    while len(took) < REPEATS and (not took or time.monotonic() < until_s):
        took.append(evaluator.evaluate(rows).took_ns)
        if evaluator.ends != ends:
            return None
    return _ms(int(statistics.median(took)))


def _ms(took_ns: int) -> float:
    return round(took_ns / 1e6, 4)


def _resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; 0 when it is gone."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.Error:
        pass
    return total
