"""Join the records of a running decision as they come; hand on each request once, in time.

A request is handed on when its deadline and `late_ms` are over: what was appended to the log by
then counts, whenever it is read. One without an answer by then (its proxy was killed) waits for
`UNANSWERED_NS` more. So what is handed on depends on the log alone, not on when it is read, nor on
how often the reader was killed meanwhile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import force_setattr

from rdv.analysis.dataset.chunk import Chunk, read_requests
from rdv.analysis.dataset.join import collector_paused
from rdv.analysis.dataset.joined import NO_RESULT, ROW_MASK, Joined, Names, place
from rdv.analysis.dataset.liveness import Calibration
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_truths
from rdv.analysis.dataset.requests import Requests
from rdv.analysis.dataset.results import NOT_ASKED, Kept, Results
from rdv.analysis.dataset.scores import Scores
from rdv.analysis.dataset.source import Source
from rdv.analysis.dataset.values import Extract
from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.live.feed import ControlRecord, Feed, name_of, read_control
from rdv.live.state import FollowState, InputState
from rdv.rendezvous.messages import Request, Result, Truth, result_code
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.rendezvous.topology import (
    BACKSTOP_SUFFIX,
    CONTROL,
    INPUT,
    OUTCOMES,
    RESULTS,
    SCORES,
    STATUS_TOPIC,
)

EVERY_S = 1.0
"""How often a process that follows a decision reads, in seconds."""

LATE_MS = 2_000.0
"""How long after its deadline a request waits for late reports, in ms."""

UNANSWERED_NS = 15 * 10**9
"""How much longer a request without an answer waits for one, in ns."""

UNANSWERED_MAX = 1_000
"""Of how many requests that were handed on without an answer a later one is found."""

DEADLINE_MS = 1_000.0
"""The deadline of a request that records none (rdv 0.1.0)."""

SETTLE_NS = 250_000_000
"""How long a record may take from its append time until readers see it, in ns."""

SKEW_NS = 5 * 10**9
"""By how much append times of different partitions may disagree, in ns."""

REQUESTS_MAX = 50_000
"""How many requests one reading takes at most, about."""

OTHERS_MAX = 20_000
"""How many records of `control` and `outcomes` one reading takes at most, by partition."""

NOTHING = msgspec.Raw(b"")
"""What takes the place of data and answers that are not used: they would keep the whole text of
their chunk in memory until the last of its requests is handed on."""

STATUS_NS = 10 * 10**9
"""Without a saved position, status lines are read from this long ago, in ns."""


@dataclass(frozen=True)
class Update:
    """What one reading has found."""

    joined: Joined | None
    """The requests that are handed on, with `figures` and `code`; None: none. Lines stay readable
    (`joined.request(row)`) as long as the value is kept."""
    control: list[ControlRecord]
    outcomes: list[tuple[int, Truth]]
    """Reported outcomes, with their append times in ns."""
    unasked: list[tuple[int, Result]]
    """Answers that a proxy gave without asking the models, which have no request in the log, with
    their append times in ns."""
    answered_late: list[tuple[int, Result]]
    """The first answers to requests that were handed on without one, with their append times in
    ns."""
    too_late: Counter[str]
    """By model, reports on requests that had been handed on before."""
    until_ns: int
    """Requests whose time was over by then have been handed on; wall time in ns."""
    has_more: bool
    """Whether there is more to read at once."""


@dataclass
class _Open:
    """Requests of one chunk that have not been handed on."""

    part: str
    number: int
    chunk: Chunk
    found: list[Request]
    rows: npt.NDArray[np.int64]
    due_ns: npt.NDArray[np.int64]
    is_held: npt.NDArray[np.bool_]
    """Whether it had no answer when its time was over."""

    def take(self, rows: npt.NDArray[Any]) -> _Open:
        found = [self.found[n] for n in rows.tolist()]
        return _Open(
            self.part, self.number, self.chunk, found, self.rows[rows], self.due_ns[rows],
            self.is_held[rows],
        )  # fmt: skip


@dataclass
class _News:
    """What a reading has found besides joined requests."""

    control: list[ControlRecord] = field(default_factory=list)
    outcomes: list[tuple[int, Truth]] = field(default_factory=list)
    unasked: list[tuple[int, Result]] = field(default_factory=list)
    answered_late: list[tuple[int, Result]] = field(default_factory=list)
    too_late: Counter[str] = field(default_factory=Counter)


class Follower:
    """Follows the decision in `directory`, running or not. For one thread at a time.

    Without a `state` it begins at the beginning of the log, or with `from_now` at its end.
    `extract` fills the column `value`. Streams may be made later. After an error in `read` the
    follower has lost what it had read: go on with a new one, from the state after the last success.
    """

    def __init__(
        self,
        directory: str,
        state: FollowState | None = None,
        *,
        from_now: bool = False,
        late_ms: float = LATE_MS,
        extract: Extract | None = None,
        requests_max: int = REQUESTS_MAX,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.notes = Notes()
        """What is wrong with the log, as far as it was read; counts are since the start."""
        state = state or FollowState()
        self._clock = clock
        self._late_ns = int(late_ms * 1e6)
        self._requests_max = requests_max
        self._names = Names()
        self._scores = Scores(self._names, extract, with_figures=True)
        self._results = Results(None, lambda *_: False, with_code=True)
        self._calibration = Calibration()
        self._chunk_count = 0
        self._until_ns = 0
        self._open: list[_Open] = []
        self._open_ids: set[str] = set()
        self._answered: dict[str, tuple[int, Result]] = {}
        """The first result of each open request, and when it was appended."""
        self._unanswered = dict.fromkeys(state.unanswered)
        """The last requests that were handed on without an answer."""
        self._new_from = {name: state.next.get(name, {}) for name in (SCORES, RESULTS)}
        self._input = Feed(directory, INPUT, {n: one.next for n, one in state.input.items()})
        self._feeds = {
            name: Feed(directory, name, state.again.get(name, state.next.get(name, {})))
            for name in (SCORES, RESULTS, CONTROL, OUTCOMES)
        }
        self._from_now = from_now and not state.input
        self._to_restore = {name: one for name, one in state.input.items() if one.open}
        self._given: FollowState | None = state
        """The state as long as nothing was read since; then None."""

    def read(self) -> Update:
        """Read what is new, and hand on the requests whose time is over.

        Raises the log's SystemFaults, and TooManyValues of `extract`.
        """
        now_ns = self._clock.wall_ns()
        # Reports are looked at before requests: then the request of each report is there, too.
        for feed in self._feeds.values():
            feed.look()
        self._input.look()
        if self._from_now:
            self._skip()
        self._restore()
        self._given = None
        bound_ns = self._bound_ns()
        until_ns = now_ns - SETTLE_NS if bound_ns is None else bound_ns
        news = _News()
        with collector_paused():
            for chunk in self._input.read(_stop_at(bound_ns, SKEW_NS), self.notes):
                self._add_requests(chunk)
            self._read_reports(bound_ns, news)
            joined = self._hand_on(until_ns, news)
        has_more = self._read_others(now_ns, news)
        self._until_ns = until_ns
        return Update(
            joined,
            news.control,
            news.outcomes,
            news.unasked,
            news.answered_late,
            news.too_late,
            until_ns,
            has_more or bound_ns is not None,
        )

    def use(self, extract: Extract) -> None:
        """Fill the column `value` from now on."""
        self._scores.use(extract)

    def state(self) -> FollowState:
        """Return the positions after the last reading: what to save with what was computed.

        Before the first one that is the state that was given.
        """
        if self._given is not None:
            return self._given
        offsets: dict[str, list[npt.NDArray[np.int64]]] = {}
        for one in self._open:
            offsets.setdefault(one.part, []).append(one.chunk.offsets[one.rows])
        none = np.empty(0, np.int64)
        oldest_ns = min((int(one.chunk.times_ns[one.rows].min()) for one in self._open), default=0)
        inputs = {
            name: InputState.of(next_, np.concatenate([none, *offsets.get(name, ())]))
            for name, next_ in self._input.at.items()
        }
        return FollowState(
            inputs | self._to_restore,
            {name: dict(feed.at) for name, feed in self._feeds.items()},
            {
                name: self._again(self._feeds[name], oldest_ns - SKEW_NS if oldest_ns else None)
                for name in (SCORES, RESULTS)
            },
            list(self._unanswered),
        )

    def close(self) -> None:
        for feed in (self._input, *self._feeds.values()):
            feed.close()

    @property
    def open_count(self) -> int:
        """The number of requests that have been read and not handed on."""
        return len(self._open_ids)

    # Reading.

    def _again(self, feed: Feed, since_ns: int | None) -> dict[str, int]:
        if since_ns is None:
            return dict(feed.at)
        again = dict(feed.at)
        for part in feed.parts:
            name = name_of(part)
            again[name] = min(feed.at[name], part.offset_at(since_ns))
        return again

    def _skip(self) -> None:
        """Go to the end of the log."""
        self._from_now = False
        for feed in (self._input, *self._feeds.values()):
            feed.at = {name_of(part): part.end for part in feed.parts}

    def _restore(self) -> None:
        """Read again the requests that were open when the state was saved."""
        for part in self._input.parts:
            one = self._to_restore.get(name_of(part))
            if one is None:
                continue
            if one.next <= part.end:
                offsets = one.open_offsets()
                for chunk in part.chunks(one.first, one.next, self.notes):
                    self._add_requests(chunk, np.isin(chunk.offsets, offsets))
            del self._to_restore[name_of(part)]  # those that are not there (yet) are kept

    def _bound_ns(self) -> int | None:
        """Return until which append time to read now; None: everything fits."""
        if self._input.left() <= self._requests_max:
            return None
        share = max(1, self._requests_max // len(self._input.parts))
        ahead = [self._time_ahead(part, share) for part in self._input.parts]
        known = [time_ns for time_ns in ahead if time_ns]
        return max(min(known), self._until_ns + 1_000_000) if known else None

    def _time_ahead(self, part: Source, count: int) -> int:
        """Return when the record that is `count` records ahead was appended; 0: there is none.

        Where it cannot be read, a nearer one counts, or at last one that is farther away.
        """
        at = self._input.at[name_of(part)]
        if part.end - at <= count:
            return 0
        nearer = [count >> n for n in range(count.bit_length() + 1)]
        farther = [count << n for n in range(1, 64) if at + (count << n) < part.end]
        times_ns = (part.time_at(at + ahead) for ahead in (*nearer, *farther))
        return next((time_ns for time_ns in times_ns if time_ns), 0)

    def _add_requests(self, chunk: Chunk, wanted: npt.NDArray[np.bool_] | None = None) -> None:
        messages = read_requests(chunk)
        open_ids, rows, found = self._open_ids, [], []
        for row, request in enumerate(messages):
            if request is None:
                self.notes.malformed[INPUT] += wanted is None
            elif wanted is not None and not wanted[row]:
                continue
            elif request.id in open_ids:
                self.notes.duplicate_requests += 1
            else:
                open_ids.add(request.id)
                rows.append(row)
                found.append(request)
                force_setattr(request, "data", NOTHING)
        if not found:
            return
        at = np.array(rows, np.int64)
        waits_ms = [min(one.deadline_ms or DEADLINE_MS, SLA_MS_MAX) for one in found]
        wait_ns = (np.array(waits_ms) * 1e6).astype(np.int64) + self._late_ns
        due_ns = chunk.times_ns[at] + wait_ns
        is_held = np.zeros(len(at), bool)
        number = self._next_number()
        self._open.append(_Open(name_of(chunk), number, chunk, found, at, due_ns, is_held))

    def _read_reports(self, bound_ns: int | None, news: _News) -> None:
        is_open = self._open_ids.__contains__
        stop = _stop_at(bound_ns)
        for chunk in self._feeds[SCORES].read(stop, self.notes):
            kept = self._scores.add(self._next_number(), chunk, self.notes, is_open)
            new_from = self._new_from[SCORES].get(name_of(chunk), 0)
            if kept < len(chunk) and int(chunk.offsets[0]) >= new_from:
                news.too_late[chunk.topic] += len(chunk) - kept
        answered = self._answered
        for chunk in self._feeds[RESULTS].read(stop, self.notes):
            is_own = chunk.topic.endswith(BACKSTOP_SUFFIX)
            found, others = self._results.add(
                self._next_number(), chunk, self.notes, is_own=is_own, wanted=is_open
            )
            for result, time_ns in zip(found.results, found.times_ns.tolist(), strict=True):
                force_setattr(result, "result", NOTHING)
                before = answered.get(result.id)
                if before is None or time_ns < before[0]:
                    answered[result.id] = time_ns, result
            if others is not None:
                self._read_unexpected(chunk, others, news)

    def _read_unexpected(self, chunk: Chunk, others: Kept, news: _News) -> None:
        """Find what counts among results without an open request."""
        new_from = self._new_from[RESULTS].get(name_of(chunk), 0)
        offsets = chunk.offsets[others.places & ROW_MASK].tolist()
        times_ns = others.times_ns.tolist()
        for result, offset, time_ns in zip(others.results, offsets, times_ns, strict=True):
            if offset < new_from:
                continue
            if result.id in self._unanswered:
                del self._unanswered[result.id]
                news.answered_late.append((time_ns, result))
            elif others.is_own and result_code(result) in NOT_ASKED:
                news.unasked.append((time_ns, result))

    def _read_others(self, now_ns: int, news: _News) -> bool:
        """Read `control` and `outcomes`; return whether there is more."""
        control, outcomes = self._feeds[CONTROL], self._feeds[OUTCOMES]
        for part in control.parts:
            if part.topic == STATUS_TOPIC:
                name, recent = name_of(part), part.offset_at(now_ns - STATUS_NS)
                control.at[name] = max(control.at[name], recent)
        for chunk in control.read(_stop_after(control), self.notes):
            news.control += read_control(chunk)
        for chunk in outcomes.read(_stop_after(outcomes), self.notes):
            for truth, time_ns in zip(read_truths(chunk), chunk.times_ns.tolist(), strict=True):
                if truth is None:
                    self.notes.malformed[OUTCOMES] += 1
                else:
                    news.outcomes.append((time_ns, truth))
        news.control.sort(key=lambda record: record.time_ns)
        return bool(control.left() or outcomes.left())

    # Handing on.

    def _hand_on(self, until_ns: int, news: _News) -> Joined | None:
        requests, due_ns, still_open = Requests(), dict[str, int](), []
        for one in self._open:
            ready = self._ready(one, until_ns)
            if not ready.any():
                still_open.append(one)
                continue
            now = one.take(np.flatnonzero(ready))
            if not ready.all():
                still_open.append(one.take(np.flatnonzero(~ready)))
            times_ns = one.chunk.times_ns[now.rows]
            requests.add_found(now.found, place(now.number, now.rows), times_ns)
            requests.chunks[now.number] = now.chunk
            due_ns.update(zip((r.id for r in now.found), now.due_ns.tolist(), strict=True))
        self._open = still_open
        if not due_ns:
            return None
        requests.finish(self.notes)
        requests.until_ns = np.fromiter(map(due_ns.__getitem__, requests.rows), np.int64)
        found = self._results.match(requests, self._names, self.notes)
        joined = self._scores.match(requests, found, self._calibration, self.notes)
        for row in np.flatnonzero(joined.kind == NO_RESULT).tolist():
            id_ = joined.id(row)
            if id_ in self._answered:  # after its time; read just now
                news.answered_late.append(self._answered[id_])
            else:
                self._unanswered[id_] = None
        while len(self._unanswered) > UNANSWERED_MAX:
            del self._unanswered[next(iter(self._unanswered))]
        self._open_ids.difference_update(due_ns)
        for id_ in due_ns:
            self._answered.pop(id_, None)
        self._results.forget(0, self.notes)  # lets go of the chunks that nothing waits in
        self._scores.forget(0, self.notes)
        return joined

    def _ready(self, one: _Open, until_ns: int) -> npt.NDArray[np.bool_]:
        """Return which requests are handed on; those without an answer wait once more."""
        ready = one.due_ns <= until_ns
        first = np.flatnonzero(ready & ~one.is_held)
        if not len(first):
            return ready
        ids = [one.found[n].id for n in first.tolist()]
        never = 2**63 - 1, None
        answered_ns = [self._answered.get(id_, never)[0] for id_ in ids]
        held = first[np.array(answered_ns) > one.due_ns[first]]
        one.due_ns[held] += UNANSWERED_NS
        one.is_held[held] = True
        ready[held] = one.due_ns[held] <= until_ns
        return ready

    def _next_number(self) -> int:
        self._chunk_count += 1
        return self._chunk_count


def _stop_at(bound_ns: int | None, more_ns: int = 0) -> Any:
    if bound_ns is None:
        return lambda part: part.end
    return lambda part: part.offset_at(bound_ns + more_ns)


def _stop_after(feed: Feed) -> Any:
    def stop(part: Source) -> int:
        return feed.at[name_of(part)] + OTHERS_MAX

    return stop
