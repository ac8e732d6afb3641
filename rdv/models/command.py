r"""Run a command as a model, and restart it when it fails.

A command is any program that answers lines on stdin with lines on stdout.

    asked      {"id":17,"data":{"amount":12.5}}\n     one row a line; "id" first, no spaces around
    answered   {"id":17,"result":{"score":0.1}}\n     or {"id":17,"error":"why not"}; in any order
               {"id":17,"refuse":"bad_input","why":"no age"}\n    the data is invalid

A program has to flush after each line. What it writes to stderr is passed on. The end
of its stdin asks it to end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rdv.coded import NO_FAULT, Coded, with_code
from rdv.models.child import (
    ENVELOPE_BYTES,
    Backoff,
    Exited,
    Garbage,
    Log,
    Process,
    TimedOut,
    question,
    read_answer,
)
from rdv.models.model import (
    CAUSE_CODES,
    Again,
    Cause,
    ModelError,
    ModelNotLoaded,
    Outcome,
    Takes,
    shortened,
)

START_LOOK_MS = 200
"""A command that ends within this time counts as not started."""


class CommandModel:
    """Runs a command that answers lines on stdin with lines on stdout; see `rdv.models.command`.

    When it exits, writes garbage or takes longer than `predict_timeout_ms` for a batch, unanswered
    rows get an error, answered ones keep their results, and it is restarted: at once the first
    time, then with a growing wait in which all rows get an error.
    """

    takes: Takes = "data"
    kind = "command"
    what = "the command"
    """How messages call it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: str,
        *,
        version: str = "",
        start_timeout_ms: int = 30_000,
        predict_timeout_ms: int = 10_000,
        result_bytes_max: int = 1024 * 1024,
        start_look_ms: int = START_LOOK_MS,
        log: Log | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Start it. It has `start_timeout_ms` more for its first batch.

        Raises ModelNotLoaded; also when it ends within `start_look_ms`: then it always would.
        """
        self._name = name
        self._command = list(command)
        self._called = " ".join(command)
        self._directory = directory
        self._start_timeout_ms = start_timeout_ms
        self._predict_timeout_ms = predict_timeout_ms
        self._bytes_max = result_bytes_max
        self._log = log or _to_stderr(name)
        self._backoff = backoff or Backoff()
        self._next_id = 1
        self._fresh = True
        self._process: Process | None = None
        self._why = ""
        self._cause: Cause = "exit"
        try:
            self.version = version
            process = self._start()
        except (OSError, ValueError) as error:
            raise ModelNotLoaded(name, " ".join(command), str(error), may_pass=True) from None
        self._await_start(process, start_look_ms)

    def _await_start(self, process: Process, start_look_ms: int) -> None:
        """Check that it does not end at once. Raises ModelNotLoaded."""
        if process.closes_within(start_look_ms):
            self._process = None
            how = process.how_it_ended()
            reason = f"{how}, without being asked anything"
            raise ModelNotLoaded(self._name, " ".join(self._command), reason, may_pass=True)

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model; a row is the JSON of its data."""
        del again
        if not rows:
            return []
        process = self._running()
        if isinstance(process, ModelError):
            return [process] * len(rows)
        outcomes: dict[int, Outcome] = {}
        first, self._next_id = self._next_id, self._next_id + len(rows)
        asked = b"".join(question(first + index, row) for index, row in enumerate(rows))
        failure = self._ask(process, asked, range(first, self._next_id), outcomes)
        return [outcomes.get(number, failure) for number in range(first, self._next_id)]

    def close(self) -> None:
        """End the process: gently, within about two seconds."""
        process, self._process = self._process, None
        if process is not None:
            process.stop(gently=True)

    @property
    def trouble(self) -> Coded:
        """Return why it cannot answer now. See `trouble_of`."""
        self._note_end()
        if self._why and (self._process is None or self._backoff.failures > 1):
            return Coded(CAUSE_CODES[self._cause], self._why)
        return NO_FAULT

    def _start(self) -> Process:
        self._process = Process(self._command, self._directory, self._log)
        self._fresh = True
        return self._process

    def _note_end(self) -> None:
        """Check whether it has ended between batches."""
        if self._process is not None and self._process.has_exited():
            process, self._process = self._process, None
            self._note(process.stop(gently=False), "exit")

    def _running(self) -> Process | ModelError:
        """Return the process; one that has ended between batches is replaced without an error."""
        self._note_end()
        if self._process is None:
            wait_ms = self._backoff.wait_ms(time.monotonic_ns())
            if wait_ms:
                return ModelError(shortened(f"{self._why}; next start in {wait_ms} ms"), "exit")
            try:
                self._start()
            except OSError as error:
                self._note(f"it cannot be started: {error}", "exit")
                return ModelError(shortened(self._why), "exit")
        assert self._process is not None
        return self._process

    def _ask(
        self, process: Process, asked: bytes, numbers: range, outcomes: dict[int, Outcome]
    ) -> ModelError | None:
        """Fill in `outcomes`; return the error of all rows that have none."""
        allowed_ms = self._predict_timeout_ms + (self._start_timeout_ms if self._fresh else 0)
        deadline_ns = time.monotonic_ns() + allowed_ms * 1_000_000
        lines = process.talk(asked, deadline_ns, self._line_bytes_max(len(numbers)))
        try:
            self._collect(lines, numbers, outcomes)
        except TimedOut:
            return self._failed(process, "timeout", f"no answer within {allowed_ms} ms")
        except Garbage as error:
            return self._failed(process, "garbage", str(error))
        except Exited as error:
            return self._failed(process, "exit", str(error))
        return None

    def _line_bytes_max(self, count: int) -> int:
        """Return the most bytes of a line; `count` is the number of rows that were asked for."""
        del count
        return self._bytes_max + ENVELOPE_BYTES

    def _collect(
        self, lines: Iterator[bytes], numbers: range, outcomes: dict[int, Outcome]
    ) -> None:
        """Read answers until all are there. Raises Garbage for one without an open question."""
        for line in lines:
            number, outcome = read_answer(line, self._bytes_max)
            if number not in numbers or number in outcomes:
                raise Garbage(f"it answered {number}, which is not an open question")
            outcomes[number] = outcome
            self._fresh = False
            if len(outcomes) == len(numbers):
                self._backoff.answered()
                return

    def _failed(self, process: Process, cause: Cause, why: str) -> ModelError:
        """End the process, start the next one if that is due, and return the error."""
        self._process = None
        how = process.how_it_ended() if cause == "exit" else process.stop(gently=False)
        self._note(why or how, cause)
        if not self._backoff.wait_ms(time.monotonic_ns()):
            self._running()
        return ModelError(shortened(why or how), cause)

    def _note(self, why: str, cause: Cause) -> None:
        self._why, self._cause = f"{self.what} has failed: {why}", cause
        self._backoff.failed(time.monotonic_ns())
        self._log(with_code(f"{self._why}: {self._called}", CAUSE_CODES[cause]))


def _to_stderr(name: str) -> Log:
    def log(line: str) -> None:
        sys.stderr.write(f"{name}: {line}\n")
        sys.stderr.flush()

    return log
