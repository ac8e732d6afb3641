"""Errors of models concern a model that cannot be loaded, or a single row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rdv.codes import ReportCode
from rdv.errors import InputFault

Cause = Literal["exception", "result", "exit", "timeout", "garbage", "data"]
"""exception: the model raised, or reported a failure; result: it returned something invalid; exit:
its process ended; timeout: it took too long; garbage: it broke the protocol; data: the row is not
JSON.
"""

_CODES: dict[Cause, ReportCode] = {
    "exception": "predict_raised",
    "result": "invalid_result",
    "exit": "process_ended",
    "timeout": "timeout",
    "garbage": "invalid_answer",
    "data": "invalid_data",
}

REASON_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class ModelError:
    """Describes why a row has no result. A value, not an exception: it is sent in a score."""

    reason: str
    cause: Cause = "exception"

    @property
    def code(self) -> ReportCode:
        """Return the code of the score that contains it."""
        return _CODES[self.cause]

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class ModelNotLoaded(InputFault):
    """A model cannot be started; `trace` is the model's own traceback, if it has one."""

    name: str
    where: str
    reason: str
    trace: str = ""

    def text(self) -> str:
        return f"model {self.name!r} ({self.where}) cannot be loaded: {self.reason}"

    def hint(self) -> str:
        return self.trace.rstrip()


def shortened(text: str) -> str:
    """Return a reason that fits into a score: one line of bounded length."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= REASON_LENGTH_MAX else line[: REASON_LENGTH_MAX - 1] + "…"


def describe(error: BaseException) -> str:
    """Return an exception of model code as one line. Its `str()` may raise as well."""
    try:
        text = str(error)
    except BaseException as worse:  # noqa: BLE001 - model code, anything goes
        text = f"(its text cannot be made: {type(worse).__name__})"
    name = type(error).__name__
    return shortened(f"{name}: {text}" if text else name)
