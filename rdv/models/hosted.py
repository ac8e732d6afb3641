"""Run a model in an interpreter of its own: `python` or `requirements` of [models.NAME].

`rdv.models.host` runs there. A batch is one frame to it and one back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from rdv.models.batch import check_results
from rdv.models.child import ENVELOPE_BYTES, READ_BYTES, Exited, Garbage, Log, Process, TimedOut
from rdv.models.command import CommandModel
from rdv.models.environments import InterpreterInUse
from rdv.models.host import (
    ANSWER,
    BATCH,
    DATA,
    EXCEPTION,
    HELLO,
    INPUT,
    INVALID,
    MEMORY,
    RESULT,
    RESULTS,
)
from rdv.models.kinds import PYTHON_ENDING, Kind, UnusableOption, find_kind
from rdv.models.model import Again, Cause, ModelError, ModelNotLoaded, Outcome, shortened

HOST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "host.py")
HELLO_BYTES_MAX = 16 * 1024 * 1024

_CAUSES: dict[int, Cause] = {
    EXCEPTION: "exception",
    INVALID: "result",
    DATA: "data",
    INPUT: "input",
    MEMORY: "memory",
}
_OTHER_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "RDV_PARENT_PIPE")
"""Variables of this process that would lead the other interpreter to this one's libraries."""


class Hello(msgspec.Struct, frozen=True):
    """The first frame of the host: what was loaded, or why nothing was."""

    version: str = ""
    columns: list[Any] = []
    notes: list[str] = []
    files: list[str] = []
    reason: str = ""
    trace: str = ""
    may_pass: bool = False
    missing: str = ""
    """The library that is missing, if that is the reason."""


_decode_hello = msgspec.json.Decoder(Hello).decode
_decode_mixed = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]]).decode


class _FrameProcess(Process):
    """A process that answers in frames instead of lines."""

    def _read_lines(self, line_bytes_max: int) -> Iterator[bytes]:
        """Yield each complete frame, with its head."""
        try:
            data = os.read(self.stdout, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise Exited
        self._unread += data
        while len(self._unread) >= ANSWER.size:
            size = ANSWER.size + ANSWER.unpack_from(self._unread)[1]
            if size > line_bytes_max:
                raise Garbage(f"it wrote an answer of {size} bytes, more than {line_bytes_max}")
            if len(self._unread) < size:
                return
            frame, self._unread = self._unread[:size], self._unread[size:]
            yield frame


class HostedModel(CommandModel):
    """Runs a .py file or a model file in another interpreter; restarts it as a command.

    Its process ends with this one. See `CommandModel`.
    """

    what = "the model's process"

    def __init__(
        self,
        name: str,
        interpreter: InterpreterInUse,
        path: str,
        directory: str,
        *,
        options: Mapping[str, Any] | None = None,
        input_errors: Sequence[str] = (),
        version: str = "",
        start_timeout_ms: int = 30_000,
        predict_timeout_ms: int = 10_000,
        result_bytes_max: int = 1024 * 1024,
        log: Log | None = None,
    ) -> None:
        """Start it and wait until the model is loaded. Raises ModelNotLoaded, UnknownKind."""
        self._name, self._path = name, path
        self._kind: Kind | None = None
        self.kind = "Python file"
        if not (path.endswith(PYTHON_ENDING) and os.path.isfile(path)):
            self._kind = find_kind(path)
            self.kind = self._kind.name
            try:
                self._kind.check_options(options or {})
            except UnusableOption as error:
                raise ModelNotLoaded(name, path, str(error)) from None
        settings = {
            "path": os.path.realpath(path),
            "adapter": self._kind.file if self._kind else "",
            "options": dict(options or {}),
            "input_errors": list(input_errors),
        }
        self._interpreter = interpreter
        self.python = interpreter.python
        super().__init__(
            name,
            [self.python, HOST, json.dumps(settings)],
            directory,
            version=version,
            start_timeout_ms=start_timeout_ms,
            predict_timeout_ms=predict_timeout_ms,
            result_bytes_max=result_bytes_max,
            log=log,
        )
        self._called = path

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model; a row is the JSON of its data."""
        del again
        if not rows:
            return []
        process = self._running()
        if isinstance(process, ModelError):
            return [process] * len(rows)
        body = b"[%b]" % b",".join(rows)
        outcomes: dict[int, Outcome] = {}
        numbers = range(len(rows))
        failure = self._ask(process, BATCH.pack(len(rows), len(body)) + body, numbers, outcomes)
        return [outcomes.get(number, failure) for number in numbers]

    def close(self) -> None:
        """End the process, and let its environment be removed once it is old."""
        super().close()
        self._interpreter.close()

    def _start(self) -> Process:
        environment = {k: v for k, v in os.environ.items() if k not in _OTHER_PYTHON}
        self._process = _FrameProcess(self._command, self._directory, self._log, environment)
        self._fresh = True
        return self._process

    def _await_start(self, process: Process, start_look_ms: int) -> None:
        """Wait for the first frame. Raises ModelNotLoaded."""
        del start_look_ms
        deadline_ns = time.monotonic_ns() + self._start_timeout_ms * 1_000_000
        try:
            hello = _hello_of(next(process.talk(b"", deadline_ns, HELLO_BYTES_MAX)))
        except TimedOut:
            self._process = None
            process.stop(gently=False)
            reason = f"it was not loaded within {self._start_timeout_ms} ms"
            raise ModelNotLoaded(self._name, self._path, reason, may_pass=True) from None
        except (Exited, Garbage, StopIteration) as error:
            self._process = None
            how = str(error) or process.how_it_ended()
            process.stop(gently=False)
            reason = f"while it was loaded by {self.python}: {how}"
            raise ModelNotLoaded(self._name, self._path, reason, may_pass=True) from None
        except BaseException:
            self.close()
            raise
        if hello.reason:
            self.close()
            raise ModelNotLoaded(
                self._name, self._path, self._why_not(hello), hello.trace, hello.may_pass
            )
        self._fresh = False
        self.version = self.version or hello.version
        self.columns, self.notes, self.files = hello.columns, hello.notes, hello.files

    def _why_not(self, hello: Hello) -> str:
        if hello.missing and self._kind and hello.missing in self._kind.adapter.LIBRARIES:
            return f"{hello.reason}; install {hello.missing} for {self.python}"
        return hello.reason

    def _line_bytes_max(self, count: int) -> int:
        return ANSWER.size + count * (self._bytes_max + ENVELOPE_BYTES)

    def _collect(
        self, lines: Iterator[bytes], numbers: range, outcomes: dict[int, Outcome]
    ) -> None:
        """Read the answer; after a restart, the first frame before it. Raises Garbage, Exited."""
        for frame in lines:
            if frame[0] == HELLO:
                if (hello := _hello_of(frame)).reason:
                    raise Exited(f"it cannot be loaded: {hello.reason}")
                self._fresh = False
                continue
            body = frame[ANSWER.size :]
            found = self._results(frame[0], body, len(numbers))
            outcomes.update(zip(numbers, found, strict=True))
            self._fresh = False
            self._backoff.answered()
            return

    def _results(self, code: int, body: bytes, count: int) -> list[Outcome]:
        try:
            if code == RESULTS:
                return check_results(body, count, self._bytes_max)
            found = _decode_mixed(body)
            if len(found) != count:
                raise Garbage(f"it answered {len(found)} rows of {count}")
            return [self._outcome(*one) for one in found]
        except (msgspec.DecodeError, ValueError) as error:
            raise Garbage(f"it wrote an answer that cannot be read: {error}") from None

    def _outcome(self, code: int, value: msgspec.Raw) -> Outcome:
        if code == RESULT:
            return check_results(b"[%b]" % value, 1, self._bytes_max)[0]
        reason = msgspec.json.decode(value, type=str)
        return ModelError(shortened(reason), _CAUSES.get(code, "exception"))


def _hello_of(frame: bytes) -> Hello:
    """Raise Garbage when it is not the first frame."""
    try:
        if frame[0] == HELLO:
            return _decode_hello(frame[ANSWER.size :])
    except msgspec.DecodeError:
        pass
    raise Garbage("it does not speak the protocol of rdv.models.host")
