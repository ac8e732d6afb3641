"""The metric "value" by a Python function, which runs in a process of its own like a model."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Texts
from rdv.analysis.measure.measure import Floats, RowMeasure
from rdv.analysis.metrics import metric_named
from rdv.analysis.replay.child import ERROR, VALUE
from rdv.analysis.replay.evaluator import Evaluator, Loading
from rdv.decision import DecisionNotFound, load_decision
from rdv.decision.value import Value

BATCH_ROWS = 256
CACHE_MAX = 1_000_000
"""The maximum number of values that are kept, at about 150 bytes each; beyond, all are dropped."""
Triple = tuple[bytes, float | None, float]


class _Line(msgspec.Struct, gc=False):
    """The field of a request that is needed here."""

    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Line).decode


class FunctionMeasure(RowMeasure):
    """Calls `value(data, answer, outcome)` once for each different triple.

    `answer` is None where there was none. The process is started at the first call, and ended by
    `close`; it gets the variables that `env` of rdv.toml names, as models do. A call that raises,
    or returns no number, is a problem of the whole metric: without it the others would say
    something else. Raises ModelNotLoaded, ModelKeepsEnding.
    """

    def __init__(self, reading: Reading, value: Value, directory: str) -> None:
        whole = replace(reading, kind="class", answer=None, truth="", means={}, problem="")
        self._texts = Texts(whole)
        super().__init__(metric_named("value"), self._texts, value.unit)
        self._value, self._directory = value, directory
        self._known: dict[Triple, float] = {}
        self._evaluator: Evaluator | None = None

    def sentence(self) -> str:
        return f"value: {self._value.function} in [value] of rdv.toml, by data, answer and outcome"

    def points(self, joined: Joined, values: Floats, truths: Floats) -> Floats:
        found = np.full(len(values), np.nan)
        if self.problem:  # then nothing is said
            return found
        known = np.flatnonzero(~np.isnan(truths))
        wanted: list[tuple[int, Triple]] = []
        missing: dict[Triple, bytes] = {}
        for row in known.tolist():
            line = joined.line(joined.request_at[row])
            data = b"null" if line is None else bytes(_decode(line).data)
            value, truth = float(values[row]), float(truths[row])
            answer = None if math.isnan(value) else value
            triple = hashlib.blake2b(data, digest_size=16).digest(), answer, truth
            wanted.append((row, triple))
            if triple not in self._known and triple not in missing:
                said = b"null" if answer is None else self._texts.text(answer)
                missing[triple] = b"[%b,%b,%b]" % (data, said, self._texts.text(truth))
        if len(self._known) + len(missing) > CACHE_MAX:
            self._known.clear()
        fresh = self._evaluated(missing) if missing else {}
        for row, triple in wanted:
            found[row] = fresh[triple] if triple in fresh else self._known[triple]
        self._known |= fresh
        return found

    def _evaluated(self, missing: dict[Triple, bytes]) -> dict[Triple, float]:
        """Return the value of each triple; NaN where the function fails."""
        if self._evaluator is None:
            opening = {VALUE: self._value.function}
            timeout_ms = self._value.timeout_ms
            name = self._value.function
            self._evaluator = Evaluator(
                Loading(
                    self._directory,
                    name,
                    opening,
                    predict_timeout_ms=timeout_ms,
                    env=self._variables(),
                )
            )
        texts: list[tuple[int, bytes]] = []
        rows = list(missing.values())
        for start in range(0, len(rows), BATCH_ROWS):
            outcome = self._evaluator.evaluate(rows[start : start + BATCH_ROWS])
            texts += zip(outcome.codes, outcome.texts, strict=True)
        return {
            triple: self._number(code, text, row)
            for triple, (code, text), row in zip(missing, texts, rows, strict=True)
        }

    def _variables(self) -> tuple[str, ...]:
        """Return the names of the variables that rdv.toml passes on; none without an rdv.toml."""
        try:
            return tuple(load_decision(self._directory, {}).env)
        except DecisionNotFound:
            return ()

    def _number(self, code: int, text: bytes, row: bytes) -> float:
        value: Any = None
        if not code:
            value = msgspec.json.decode(text)
            if isinstance(value, int | float) and math.isfinite(value):
                return float(value)
        reason = f"it returned {value!r}"
        if code == ERROR:
            reason = text.decode("utf-8", "replace").replace("the model's result", "its result")
        if not self.problem:
            shown = row[:200].decode("utf-8", "replace")
            self.problem = f"{self._value.function} fails for {shown}: {reason}"
        return math.nan

    def close(self) -> None:
        """End the process. May be called twice."""
        evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            evaluator.close()
