"""The child process of a command model: the lines that are exchanged with it, and its restarts.

Every wait is bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from rdv.models.batch import check_result
from rdv.models.model import ModelError, shortened
from rdv.rendezvous.messages import one_line
from rdv.system.child import DELAY_MS_MAX, FIRST_DELAY_MS, Program, restart_delay_ms

ENVELOPE_BYTES = 4096
"""The maximum bytes of an answer's line beyond its result: an id, an error text."""
READ_BYTES = 256 * 1024
STDERR_LINE_BYTES = 4096
END_GRACE_S = 1.0
LOOK_MS = 250
"""How often to check whether a silent process still runs, in ms."""

Log = Callable[[str], None]


class Garbage(Exception):
    """The command has written something that is not an answer to an open question."""


class Exited(Exception):
    """The process has ended, or has closed its stdout."""


class TimedOut(Exception):
    """There was no answer in time."""


class Answer(msgspec.Struct, gc=False):
    """Describes one line of a command. Unknown fields are ignored."""

    id: int
    result: msgspec.Raw | UnsetType = UNSET
    error: str | None = None
    refuse: str | None = None
    """"bad_input": the row is invalid; `why` says what is wrong with it."""
    why: str = ""


_DECODER = msgspec.json.Decoder(Answer)


def question(number: int, data: bytes) -> bytes:
    """Return the line that asks for a row; line breaks in pretty-printed data become spaces."""
    return b'{"id":%d,"data":%b}\n' % (number, one_line(data))


def read_answer(line: bytes, bytes_max: int) -> tuple[int, bytes | ModelError]:
    """Return the number of the row and its outcome. Raises Garbage.

    An answer with an unusable value, as the NaN that Python's json writes, is an error of its row
    only.
    """
    try:
        answer = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        shown = line[:80].decode("utf-8", "backslashreplace")
        why = shortened(f"it wrote {shown!r}: {error}")
        number = _number_of(line)
        if number is None:
            raise Garbage(why) from None
        return number, ModelError(why, "garbage")
    if answer.refuse is not None:
        if answer.refuse != "bad_input":
            why = f'it refuses with {answer.refuse[:80]!r}: there is only "bad_input"'
            return answer.id, ModelError(shortened(why), "garbage")
        return answer.id, ModelError(shortened(answer.why) or "the input is invalid", "input")
    if answer.error is not None:
        return answer.id, ModelError(shortened(answer.error) or "an error without a text")
    if isinstance(answer.result, UnsetType):
        return answer.id, ModelError("its answer has neither a result nor an error", "garbage")
    return answer.id, check_result(bytes(answer.result), bytes_max)


def _number_of(line: bytes) -> int | None:
    """Return the id of an answer whose other values cannot be used; None when it has no id."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    number = answer.get("id") if isinstance(answer, dict) else None
    return number if type(number) is int else None


class Process(Program):
    """One run of the command, in its own process group. For one thread."""

    def __init__(
        self,
        command: Sequence[str],
        directory: str,
        log: Log,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; `log` gets each line of its stderr. Raises OSError, ValueError.

        `environment` is this process's own unless given.
        """
        ours, theirs = os.pipe()
        try:
            super().__init__(command, directory=directory, stderr=theirs, environment=environment)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._unread = b""
        self._reporter = threading.Thread(
            target=_pass_on, args=(ours, log), name="rdv-stderr", daemon=True
        )
        self._reporter.start()

    def closes_within(self, ms: float) -> bool:
        """Wait until its stdout ends, as it does at its end; return False after `ms`."""
        poller = select.poll()
        poller.register(self.stdout, 0)
        return bool(poller.poll(ms))

    def talk(self, asked: bytes, deadline_ns: int, line_bytes_max: int) -> Iterator[bytes]:
        """Write `asked`, and yield each line that comes, until the caller stops.

        Writes and reads alternate, so that neither side waits for the other with a full pipe.
        Raises Exited, TimedOut, Garbage.
        """
        rest = memoryview(asked)
        poller = select.poll()
        poller.register(self.stdout, select.POLLIN)
        poller.register(self.stdin, select.POLLOUT)
        while True:
            left_ms = (deadline_ns - time.monotonic_ns()) / 1e6
            if left_ms <= 0:
                raise TimedOut
            ready = poller.poll(min(left_ms, LOOK_MS))
            if not ready and self.has_exited():
                raise Exited  # its stdout may be kept open by a child of its own
            for fd, _ in ready:
                if fd == self.stdout:
                    yield from self._read_lines(line_bytes_max)
                elif not (rest := self._write(rest)):
                    poller.unregister(self.stdin)

    def _write(self, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(self.stdin, rest) :]
        except BlockingIOError:
            return rest
        except BrokenPipeError:
            # It reads no more, but what it has written can still be read; then comes the end.
            return rest[:0]

    def _read_lines(self, line_bytes_max: int) -> Iterator[bytes]:
        try:
            data = os.read(self.stdout, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise Exited
        *lines, self._unread = (self._unread + data).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(self._unread) > line_bytes_max:
            raise Garbage(f"it wrote a line of more than {line_bytes_max} bytes")

    def stop(self, *, gently: bool) -> str:
        """End it with all of its children, and return how it ended.

        Gently: by the end of its stdin, then SIGTERM, with END_GRACE_S for each; then, as always,
        SIGKILL.
        """
        how = self.end(*((None, signal.SIGTERM) if gently else ()), grace_s=END_GRACE_S)
        self._reporter.join(END_GRACE_S)
        return how

    def how_it_ended(self) -> str:
        """Return how it ended. For a process whose stdout has ended: usually it ends by itself."""
        self.ends_within(END_GRACE_S)
        return self.stop(gently=False)


def _pass_on(stderr: int, log: Log) -> None:
    """Pass every line of stderr on, in pieces of bounded length."""
    with open(stderr, "rb") as lines, contextlib.suppress(OSError, ValueError):
        while line := lines.readline(STDERR_LINE_BYTES):
            log(line.decode("utf-8", "backslashreplace").rstrip("\n"))


class Backoff:
    """When a command that keeps failing may be restarted (`restart_delay_ms`). Pure.

    An answer ends the series: a command that fails now and then is always restarted at once.
    """

    def __init__(self, first_ms: int = FIRST_DELAY_MS, longest_ms: int = DELAY_MS_MAX) -> None:
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._failures = 0
        self._ready_ns = 0

    def failed(self, now_ns: int) -> None:
        """Note that the command has failed."""
        wait_ms = restart_delay_ms(self._failures, self._first_ms, self._longest_ms)
        self._ready_ns = now_ns + int(wait_ms) * 1_000_000
        self._failures += 1

    @property
    def failures(self) -> int:
        """Return the number of failures in a row."""
        return self._failures

    def answered(self) -> None:
        """Note that the command works."""
        self._failures, self._ready_ns = 0, 0

    def wait_ms(self, now_ns: int) -> int:
        """Return the milliseconds until the command may be started; 0: now."""
        return max(0, -((now_ns - self._ready_ns) // 1_000_000))
