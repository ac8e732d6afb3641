"""Follows the log of a decision, exports spans, and saves how far it has come.

The log is the queue: while a collector is away, nothing is read. A position is saved when all that
is before it was taken or dropped, so that a killed process sends the rest again, with the same ids.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import Reading, choose_reading
from rdv.analysis.dataset.source import Source, sources
from rdv.analysis.dataset.values import Extract, extract_of
from rdv.analysis.errors import NothingRecorded, TooManyValues
from rdv.clock import Clock
from rdv.coded import coded
from rdv.decision import Decision
from rdv.decision.traces import Traces
from rdv.errors import RdvError
from rdv.live import EVERY_S, Follower, FollowState, Update, load, save
from rdv.live.feed import name_of
from rdv.live.state import InputState
from rdv.rendezvous.topology import CONTROL, INPUT, OUTCOMES, RESULTS, SCORES
from rdv.traces.decisions import Decisions
from rdv.traces.otlp import encode, read_response
from rdv.traces.sender import Fate, Sender
from rdv.traces.settings import destination, resource
from rdv.traces.spans import Span

log = logging.getLogger("rdv.traces")

BATCH_SPANS = 512
"""How many spans a message has, about: those of whole decisions."""

REQUESTS_MAX = 5_000
"""How many requests are read at once, about."""

START_NS = 60 * 10**9
"""Without a saved position, what was decided from this long ago on is exported, in ns."""

FIRST_WAIT_S = 1.0
WAIT_S_MAX = 30.0
ASKED_WAIT_S_MAX = 300.0
"""The longest time that a collector's `Retry-After` is kept, in seconds."""


class Stopped(Exception):
    """The process is to end."""


class Counts(msgspec.Struct):
    """What was exported since the first start, over all processes."""

    decisions: int = 0
    spans: int = 0
    rejected: int = 0
    """Spans that the collector has not taken of a message that it has."""
    dropped: int = 0
    """Spans that could not be sent within `lag_max_ms`, could not be made, or were refused."""


class Saved(msgspec.Struct):
    """What the process saves."""

    follow: FollowState
    saved_ns: int
    counts: Counts


@dataclass
class Batch:
    """The spans of whole decisions."""

    spans: list[Span]
    decisions: int = 0


def saved_path(directory: str) -> str:
    return os.path.join(directory, ".rdv", "traces.json")


class Exporter:
    """Exports the decisions of `directory`. `run` belongs to one thread, `stop` to any."""

    def __init__(
        self,
        directory: str,
        decision: Callable[[], Decision],
        environ: Mapping[str, str],
        clock: Clock,
    ) -> None:
        """`decision` returns the settings in force."""
        self._directory = directory
        self._decision_of = decision
        self._environ = environ
        self._clock = clock
        self._stopping = threading.Event()
        self._path = saved_path(directory)
        self.counts = Counts()
        self.until_ns = 0
        """What was decided before has been exported; wall time in ns, 0 when nothing was read."""
        self.trouble = ""
        """Why nothing can be exported now; empty when it can."""
        self._decision: Decision | None = None
        self._sender: Sender | None = None
        self._resource: dict[str, str] = {}
        self._follower: Follower | None = None
        self._state = FollowState()
        """What was exported: from where a new follower begins."""
        self._decisions: Decisions | None = None
        self._reading: Reading | None = None
        self._extract: Extract | None = None

    def stop(self) -> None:
        """End soon; what was not taken is exported again after the next start."""
        self._stopping.set()

    def run(self) -> None:
        """Export until `stop`. Errors of the log and of the settings are tried again."""
        try:
            while not self._stopping.is_set():
                if not self.turn():
                    self._stopping.wait(EVERY_S)
        except Stopped:
            pass
        finally:
            if self._follower is not None:
                self._follower.close()
            if self._sender is not None:
                self._sender.close()

    def turn(self) -> bool:
        """Export what is new; return whether there is more at once. Raises Stopped."""
        try:
            self._refresh()
            follower = self._follower or self._open(self._first_state())
        except RdvError as error:
            self._note_trouble(error.text())
            return False
        try:
            update = follower.read()
            if self._reading is None and update.joined is not None and self._choose_reading():
                follower = self._open(self._state)  # reads the same again, with values
                update = follower.read()
            self._export(update)
            self.until_ns = update.until_ns
            self._state = follower.state()
        except TooManyValues as error:
            self._note_trouble(error.text())
            self._extract = None
            self._open(self._state)
            return False
        except RdvError as error:
            self._note_trouble(error.text())
            self._open(self._state)
            return False
        self._save()
        return update.has_more

    def _save(self) -> None:
        """Save the position. On a full disk it goes on: what is sent again has the same ids."""
        try:
            save(self._path, Saved(self._state, self._clock.wall_ns(), self.counts))
        except RdvError as error:
            self._note_trouble(f"the position of the export is not saved: {error.text()}")

    @property
    def _settings(self) -> Traces:
        assert self._decision is not None
        return self._decision.traces

    def _refresh(self) -> None:
        """Take over edits of the settings. Raises RdvErrors, and InvalidTraces."""
        now, before = self._decision_of(), self._decision
        if before is not None and (now.traces, now.outcome, now.name, _remote(now)) == (
            before.traces, before.outcome, before.name, _remote(before),
        ) and self._sender is not None:  # fmt: skip
            return
        attributes = resource(now.name, self._environ)
        sender = Sender(destination(now.traces.endpoint, self._environ))
        if self._sender is not None:
            self._sender.close()
        self._sender, self._resource, self._decision = sender, attributes, now
        self._decisions = Decisions(self._directory, now.name, _remote(now))
        if before is None or now.outcome != before.outcome:
            self._reading = self._extract = None

    # Reading.

    def _open(self, state: FollowState) -> Follower:
        if self._follower is not None:
            self._follower.close()
        self._state = state
        self._follower = Follower(
            self._directory,
            state,
            extract=self._extract,
            requests_max=REQUESTS_MAX,
            clock=self._clock,
        )
        return self._follower

    def _choose_reading(self) -> bool:
        """Choose by what answers are compared, now that there are some; return if it is new."""
        if not self._settings.disagreements:
            return False
        assert self._decision is not None
        with Recorded(self._directory) as recorded:
            self._reading = choose_reading(recorded, self._decision.outcome)
        self._extract = extract_of(self._reading)
        return True

    def _first_state(self) -> FollowState:
        """Return where to begin: where the last process has ended, unless that is long ago."""
        now_ns = self._clock.wall_ns()
        since_ns = now_ns - START_NS
        saved = load(self._path, Saved)
        if saved is not None:
            self.counts = saved.counts
            since_ns = now_ns - self._settings.lag_max_ms * 1_000_000
            if saved.saved_ns >= since_ns:
                return saved.follow
            text = "it was not running for %.0f s: only the last %.0f s are exported"
            late_s, kept_s = ((now_ns - ns) / 1e9 for ns in (saved.saved_ns, since_ns))
            log.warning(text, late_s, kept_s, extra=coded("traces_dropped"))
        return state_since(self._directory, since_ns)

    # Exporting.

    def _export(self, update: Update) -> None:
        """Send all spans of a reading, or drop those that are too old. Raises Stopped."""
        decisions = self._decisions
        assert decisions is not None
        batch = Batch([])
        for spans in decisions.spans(update, self._settings, self._reading):
            batch.spans += spans
            batch.decisions += 1
            if len(batch.spans) >= BATCH_SPANS:
                self._deliver(batch)
                batch = Batch([])
        if batch.spans:
            self._deliver(batch)
        self.counts.dropped += decisions.failed

    def _deliver(self, batch: Batch) -> None:
        """Send a message until it is taken, refused or too old. Raises Stopped, RdvErrors."""
        try:
            message, failures = encode(batch.spans, self._resource), 0
        except (ValueError, TypeError):
            if len(batch.spans) > 1:
                self._deliver_halves(batch)
            else:
                self._drop(batch, f"one cannot be encoded: {batch.spans[0].name}")
            return
        newest_ns = max(span.end_ns for span in batch.spans)
        while True:
            if self._stopping.is_set():
                raise Stopped
            if self._clock.wall_ns() - newest_ns > self._settings.lag_max_ms * 1_000_000:
                self._drop(batch, "the collector was away for too long")
                return
            assert self._sender is not None
            outcome = self._sender.send(message)
            if outcome.fate is Fate.TAKEN:
                self._taken(batch, outcome.body)
                return
            if outcome.fate is Fate.TOO_LARGE and len(batch.spans) > 1:
                self._deliver_halves(batch)
                return
            self._note_trouble(outcome.reason)
            if outcome.fate is not Fate.AGAIN:
                self._drop(batch, outcome.reason)
                return
            failures += 1
            self._stopping.wait(wait_s(failures, outcome.wait_s))
            with contextlib.suppress(RdvError):  # those before stay in force
                self._refresh()

    def _deliver_halves(self, batch: Batch) -> None:
        middle = len(batch.spans) // 2
        self._deliver(Batch(batch.spans[:middle], batch.decisions))
        self._deliver(Batch(batch.spans[middle:]))

    def _taken(self, batch: Batch, body: bytes) -> None:
        accepted = read_response(body)
        rejected = min(accepted.rejected, len(batch.spans))
        self.counts.decisions += batch.decisions
        self.counts.spans += len(batch.spans) - rejected
        self.counts.rejected += rejected
        if rejected:
            self._note_trouble(f"the collector has rejected spans: {accepted.message[:200]}")
            return
        if self.trouble:
            log.info("traces are exported again")
        self.trouble = ""

    def _drop(self, batch: Batch, why: str) -> None:
        if not self.counts.dropped:
            log.warning("spans are dropped: %s", why, extra=coded("traces_dropped"))
        self.counts.dropped += len(batch.spans)

    def _note_trouble(self, why: str) -> None:
        """Keep why nothing is exported now; log it when it is new."""
        if not self.trouble:
            text = "traces are not exported now: %s"
            log.warning(text, why, extra=coded("traces_not_exported"))
        self.trouble = why


def _remote(decision: Decision) -> frozenset[str]:
    """Return the models behind HTTP."""
    return frozenset(name for name, model in decision.models.items() if model.http)


def wait_s(failures: int, asked_s: float) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    longest_s = min(WAIT_S_MAX, FIRST_WAIT_S * 2.0 ** min(failures - 1, 10))
    own_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311  no secret
    return max(own_s, min(asked_s, ASKED_WAIT_S_MAX))


def state_since(directory: str, since_ns: int) -> FollowState:
    """Return the state from which a follower begins with what was appended at `since_ns`."""
    try:
        with Recorded(directory) as recorded:
            at: Mapping[str, dict[str, int]] = {
                stream: _offsets(sources(recorded.stream(stream)), since_ns)
                for stream in (INPUT, SCORES, RESULTS, CONTROL, OUTCOMES)
            }
    except NothingRecorded:
        return FollowState()
    requests = {name: InputState(offset, offset) for name, offset in at[INPUT].items()}
    return FollowState(requests, {name: at[name] for name in at if name != INPUT})


def _offsets(parts: Iterable[Source], since_ns: int) -> dict[str, int]:
    return {name_of(part): part.offset_at(since_ns) for part in parts}
