"""Define the interface of every kind of model to a worker, and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import Any, Literal, Protocol

from rdv.coded import NO_FAULT, Coded
from rdv.codes import ReportCode
from rdv.errors import InputError, InputFault

Cause = Literal["exception", "result", "exit", "timeout", "garbage", "data", "input", "memory"]
"""exception: the model raised, or reported a failure; result: it returned something invalid; exit:
its process ended; timeout: it took too long; garbage: it broke the protocol; data: the row is not
JSON; input: the model says that the row is invalid, which is a refusal;
memory: there is no memory left, or no more than `memory_max` allows.
"""

CAUSE_CODES: dict[Cause, ReportCode] = {
    "exception": "predict_raised",
    "result": "invalid_result",
    "exit": "process_ended",
    "timeout": "timeout",
    "garbage": "invalid_answer",
    "data": "invalid_data",
    "input": "bad_input",
    "memory": "out_of_memory",
}

REASON_LENGTH_MAX = 500
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class ModelError:
    """Describes why a row has no result. A value, not an exception: it is sent in a score."""

    reason: str
    cause: Cause = "exception"

    @property
    def code(self) -> ReportCode:
        """Return the code of the score that contains it."""
        return CAUSE_CODES[self.cause]

    def __str__(self) -> str:
        return self.reason


class ModelNotLoaded(InputFault):
    """A model cannot be started; `trace` is the model's own traceback, if it has one."""

    name: str
    where: str
    reason: str
    trace: str = ""
    may_pass: bool = False
    """Whether another attempt may succeed without an edit: a server or a file was not reachable."""

    _text = "model {name!r} ({where}) cannot be loaded: {reason}"

    def hint(self) -> str:
        return self.trace.rstrip()


_PASSING = ("connect", "timeout", "timedout", "unavailable", "rpcerror", "transport", "network")
"""In the name of an exception that has to do with another machine; many libraries have their own.
"""


def may_pass(error: BaseException) -> bool:
    """Return whether loading may succeed later though nothing is edited.

    That is so when the network, a file outside of the decision or memory was missing: the error
    itself, or one that it was raised for. Wrong code and a wrong file stay wrong.
    """
    if isinstance(error, (ImportError, SyntaxError)):
        return False
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        names = [kind.__name__.lower() for kind in type(found).__mro__]
        if isinstance(found, (OSError, MemoryError, SubprocessError)) or any(
            word in name for name in names for word in _PASSING
        ):
            return True
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def shortened(text: str) -> str:
    """Return a reason that fits into a score: one line of bounded length."""
    line = one_line(text.encode("utf-8", "backslashreplace").decode())
    return line if len(line) <= REASON_LENGTH_MAX else line[: REASON_LENGTH_MAX - 1] + "…"


def one_line(text: str) -> str:
    """Return a text for a line of a log, without characters that control a terminal.

    A model, or the server behind it, may repeat what a client has sent.
    """
    return _CONTROLS.sub("\ufffd", " ".join(text.split()))


def describe(error: BaseException) -> str:
    """Return an exception of model code as one line. Its `str()` may raise as well."""
    try:
        text = str(error)
    except BaseException as worse:  # noqa: BLE001 - model code, anything goes
        text = f"(its text cannot be made: {type(worse).__name__})"
    name = type(error).__name__
    return shortened(f"{name}: {text}" if text else name)


class InputErrors:
    """Tells which exceptions of a model say that the input is at fault.

    These are `rdv.InputError`, and those that `input_errors` of the model names: a class
    (`KeyError`) or one of a module (`pandera.errors.SchemaError`), with all classes below it.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(names)

    def error(self, error: BaseException) -> ModelError:
        """Return why a row has no result."""
        if self._names or isinstance(error, InputError):
            for kind in type(error).__mro__:
                if kind is InputError or self._names & {
                    kind.__name__,
                    f"{kind.__module__}.{kind.__qualname__}",
                }:
                    text = describe(error)
                    own = text.removeprefix("InputError: ") if kind is InputError else text
                    return ModelError(own, "input")
        return ModelError(
            describe(error), "memory" if isinstance(error, MemoryError) else "exception"
        )


Takes = Literal["values", "data", "lines"]
"""What `predict` takes for each row: the parsed value of the request's `data`; its JSON as bytes;
or the whole request, byte for byte as in the log.
"""

Again = Callable[[int], Any]

Outcome = bytes | ModelError | None
"""A row's result as JSON, why there is none, or None: nothing to report, no score."""


class Model(Protocol):
    """The interface of a loaded model, for the one thread that has loaded it.

    What a model makes in that thread (a connection of sqlite3, a loop of asyncio) often does not
    work in another.
    """

    version: str
    """Recorded with every score: the declared one and a hash of its files (`open_model`)."""

    takes: Takes

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Return one outcome for each row, in order. Never raises, never ends the process on
        purpose.

        A model that fails affects only the rows that it was given. `again` makes row number n anew,
        for a model that has changed its rows before it failed.
        """

    def close(self) -> None:
        """Release processes and files. May be called twice."""


def trouble_of(model: Model) -> Coded:
    """Return why the model cannot answer now, as far as is known; NO_FAULT while it can.

    For the thread that calls `predict`. Only models outside of this process have any trouble.
    """
    found: Coded = getattr(model, "trouble", NO_FAULT)
    return found


def kind_of(model: object) -> str:
    """Return what kind of model it is, as users call it: "Python file", "command"."""
    return str(getattr(model, "kind", "") or type(model).__name__)
