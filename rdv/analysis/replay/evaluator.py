"""Run a model in a process of its own, which gets batches in order and keeps its faults there.

Batches are sent ahead, so that the process never waits for the replay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Self, TypeVar

import msgspec

from rdv.analysis.errors import ModelKeepsEnding
from rdv.analysis.replay.child import (
    ERROR,
    Evaluated,
    Hello,
    Settings,
    outcomes_size,
    pack_rows,
    unpack_outcomes,
)
from rdv.models import ModelNotLoaded
from rdv.system.child import Program, how_it_ended
from rdv.system.environment import clean_environment

AHEAD_BATCHES, AHEAD_BYTES = 512, 8 * 1024 * 1024
"""How many batches and bytes are sent before their outcomes have come back."""

PIPE_BYTES = 1024 * 1024
READ_BYTES = 1024 * 1024
HELLO_BYTES_MAX = 256 * 1024
ENDS_IN_A_ROW_MAX, ENDS_MAX = 10, 100
GRACE_S = 2.0
COMMAND_GRACE_MS = 5_000
"""How many ms to wait beyond a command's own timeouts, which come first."""

HUNG = "the model hung and was ended"
DIED = "the model's process ended in this batch: {how}"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Loading:
    """The model to load: `opening` has the arguments of `rdv.models.open_model`."""

    directory: str
    name: str
    opening: dict[str, Any]
    start_timeout_ms: int = 30_000
    predict_timeout_ms: int = 10_000
    env: tuple[str, ...] = ()
    """Environment variables that it gets besides the usual ones, as rdv.toml names them."""
    memory_max_bytes: int = 0
    """The limit of the process's memory; 0: none."""


class Job(NamedTuple, Generic[_T]):
    """A batch: its rows as the model takes them, and data of the caller."""

    rows: Sequence[bytes]
    about: _T


class ProcessEnded(Exception):
    """The process has ended; the text says how."""


@dataclass
class Process:
    """One run of the model's process."""

    hello: Hello
    child: Program
    lifeline: int
    unsent: deque[memoryview] = field(default_factory=deque)
    unread: bytearray = field(default_factory=bytearray)

    def send(self, frame: bytes) -> None:
        self.unsent.append(memoryview(frame))

    def exchange(self, timeout_s: float) -> list[Evaluated]:
        """Write and read what is possible, waiting for `timeout_s` at most. Raises ProcessEnded."""
        poller = select.poll()
        poller.register(self.child.stdout, select.POLLIN)
        if self.unsent:
            poller.register(self.child.stdin, select.POLLOUT)
        for fd, _ in poller.poll(timeout_s * 1000):
            if fd == self.child.stdout:
                if not (data := os.read(fd, READ_BYTES)):
                    raise ProcessEnded(self.end(gently=True))
                self.unread += data
            else:
                self._write()
        return self._whole()

    def _write(self) -> None:
        try:
            while self.unsent:
                wrote = os.writev(self.child.stdin, list(self.unsent)[:64])
                while wrote and wrote >= len(self.unsent[0]):
                    wrote -= len(self.unsent.popleft())
                if wrote:
                    self.unsent[0] = self.unsent[0][wrote:]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.unsent.clear()  # its output can still be read, then the end of file

    def _whole(self) -> list[Evaluated]:
        found, at = [], 0
        while size := outcomes_size(self.unread, at):
            found.append(unpack_outcomes(bytes(self.unread[at : at + size])))
            at += size
        del self.unread[:at]
        return found

    def end(self, *, gently: bool) -> str:
        """End the process and its descendants, and return how it ended. May be called twice."""
        if self.lifeline < 0:
            return ""
        code = None
        if gently:
            self.child.close_stdin()
            self.child.ends_within(GRACE_S)
            code = self.child.exit_code()
        os.close(self.lifeline)  # it ends its descendants, and itself
        self.lifeline = -1
        how = self.child.end(None, grace_s=GRACE_S)
        return how if code is None and not gently else how_it_ended(code)


def start(loading: Loading) -> Process:
    """Start the process and wait until the model is loaded. Raises ModelNotLoaded."""
    theirs, ours = os.pipe()
    settings = Settings(
        loading.directory, loading.name, loading.opening, theirs, loading.memory_max_bytes
    )
    command = [sys.executable, "-m", "rdv.analysis.replay.child"]
    try:
        child = Program(
            [*command, msgspec.json.encode(settings).decode()],
            environment=clean_environment(os.environ, loading.env),
            pass_fd=theirs,
            ends_with_parent=False,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    for pipe in (child.stdin, child.stdout):
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # the system allows less
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = Process(Hello(), child, ours)
    try:
        process.hello = _greeted(process, loading)
    except BaseException:
        process.end(gently=False)
        raise
    return process


def _greeted(process: Process, loading: Loading) -> Hello:
    where = str(loading.opening.get("path") or " ".join(loading.opening.get("command", ())))
    until_s = time.monotonic() + loading.start_timeout_ms / 1000
    poller = select.poll()
    poller.register(process.child.stdout, select.POLLIN)
    while b"\n" not in process.unread:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or len(process.unread) > HELLO_BYTES_MAX:
            reason = f"it was not ready within {loading.start_timeout_ms} ms"
            raise ModelNotLoaded(loading.name, where, reason)
        if not poller.poll(left_s * 1000):
            continue
        if not (data := os.read(process.child.stdout, READ_BYTES)):
            process.child.ends_within(GRACE_S)
            how = how_it_ended(process.child.exit_code())
            raise ModelNotLoaded(loading.name, where, f"while it was loaded, {how}")
        process.unread += data
    line, _, rest = bytes(process.unread).partition(b"\n")
    process.unread = bytearray(rest)
    hello = msgspec.json.decode(line, type=Hello)
    if hello.reason:
        raise ModelNotLoaded(loading.name, hello.where, hello.reason, hello.trace)
    return hello


class Evaluator:
    """A loaded model. For one thread only. Raises ModelNotLoaded.

    `ends` counts how often its process ended; it is restarted then.
    """

    def __init__(self, loading: Loading) -> None:
        self.ends = 0
        self._in_a_row = 0
        self._loading = loading
        self._process = start(loading)
        self.version, self.takes = self._process.hello.version, self._process.hello.takes
        self.hello = self._process.hello
        self._timeout_s = loading.predict_timeout_ms / 1000
        if loading.opening.get("command"):
            more_ms = loading.start_timeout_ms + COMMAND_GRACE_MS
            self._timeout_s += more_ms / 1000

    @property
    def pid(self) -> int:
        """Return the model's process."""
        return self._process.child.pid

    def run(self, jobs: Iterable[Job[_T]]) -> Generator[tuple[Job[_T], Evaluated]]:
        """Yield the outcomes of all jobs, in order. A batch that ends the process has only errors.

        Raises ModelKeepsEnding, and ModelNotLoaded if the process cannot be restarted.
        """
        source, flying = iter(jobs), deque[Job[_T]]()
        ahead_bytes, is_over = 0, False
        began_s = time.monotonic()
        while True:
            while not is_over and len(flying) < AHEAD_BATCHES and ahead_bytes < AHEAD_BYTES:
                job = next(source, None)
                if job is None:
                    is_over = True
                    break
                frame = pack_rows(job.rows)
                ahead_bytes += len(frame)
                flying.append(job)
                self._process.send(frame)
                began_s = time.monotonic()  # our own time does not count as the model's
            if not flying:
                return
            for evaluated in self._outcomes(flying, began_s):
                job = flying.popleft()
                ahead_bytes -= sum(map(len, job.rows)) + 5 * len(job.rows)
                yield job, evaluated
                began_s = time.monotonic()
            ahead_bytes = max(0, ahead_bytes) if flying else 0

    def evaluate(self, rows: Sequence[bytes]) -> Evaluated:
        """Evaluate one batch, and wait for it. Raises what `run` raises."""
        return next(self.run([Job(rows, None)]))[1]

    def _outcomes(self, flying: deque[Job[_T]], began_s: float) -> list[Evaluated]:
        """Return what has come; after the process's end or a timeout, errors for one batch."""
        left_s = began_s + self._timeout_s - time.monotonic()
        try:
            found = self._process.exchange(max(0.0, left_s))
        except ProcessEnded as error:
            return [self._lost(flying, DIED.format(how=error))]
        if found:
            self._in_a_row = 0
        elif began_s + self._timeout_s <= time.monotonic():
            self._process.end(gently=False)
            return [self._lost(flying, HUNG)]
        return found

    def _lost(self, flying: deque[Job[_T]], reason: str) -> Evaluated:
        """Restart the process after the batch that was in flight; return errors for that batch."""
        self.ends += 1
        self._in_a_row += 1
        if self._in_a_row >= ENDS_IN_A_ROW_MAX or self.ends >= ENDS_MAX:
            raise ModelKeepsEnding(self._loading.name, self.ends, reason)
        self._process = start(self._loading)
        count = len(flying[0].rows)
        for number, job in enumerate(flying):
            if number:
                self._process.send(pack_rows(job.rows))
        return Evaluated(bytes([ERROR]) * count, [reason.encode()] * count, 0)

    def close(self) -> None:
        """End the process. May be called twice."""
        self._process.end(gently=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._process.end(gently=error is None)
