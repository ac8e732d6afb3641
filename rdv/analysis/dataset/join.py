"""The join combines requests with all scores and results, batch by batch.

    with Recorded("fraud") as recorded:
        join = Join(recorded, since_ns=…)
        for joined in join:        # batches of at most about `requests_max` requests
            …
        print(join.notes.lines())

Memory is bounded by the batch: the requests of an interval, and the scores that came within
`HORIZON_NS` of the time that its requests had. A later score counts as missing.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from rdv.analysis.dataset.chunk import Chunk
from rdv.analysis.dataset.joined import Joined, Names, concat_joined
from rdv.analysis.dataset.liveness import Calibration
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.requests import Requests
from rdv.analysis.dataset.results import Results
from rdv.analysis.dataset.scores import Scores
from rdv.analysis.dataset.source import Source, sources, windows
from rdv.analysis.dataset.values import Extract
from rdv.analysis.errors import NothingRecorded
from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.rendezvous.messages import Result
from rdv.rendezvous.topology import BACKSTOP_SUFFIX, INPUT, RESULTS, SCORES

REQUESTS_MAX = 200_000
HORIZON_NS = 15 * 10**9
"""How many ns after a window's requests were due scores and results are still searched for."""

SLACK_NS = 2 * 10**9
"""How near, in ns, to the ends of the reading a result without a request is no suspicion."""


class Feeds:
    """Partitions that are read once, in consecutive parts."""

    def __init__(self, parts: list[Source], since_ns: int | None) -> None:
        self._parts = parts
        self._at = [part.begin if since_ns is None else part.offset_at(since_ns) for part in parts]

    def read_until(self, until_ns: int | None, notes: Notes) -> Iterator[Chunk]:
        """Yield what was appended before `until_ns` (None: all) and has not been read yet."""
        for number, part in enumerate(self._parts):
            stop = part.offset_at(until_ns)
            if stop > self._at[number]:
                yield from part.chunks(self._at[number], stop, notes)
                self._at[number] = stop

    def left(self) -> Iterator[tuple[Source, int]]:
        """Return partitions, and the next offset of each."""
        return zip(self._parts, self._at, strict=True)

    def note_gaps(self, notes: Notes) -> None:
        for part in self._parts:
            part.note_missing(notes)
            if part.begin:
                notes.gap(f"{part.name} begins at offset {part.begin} by retention")


class Join:
    """A join, to be iterated once. `extract` fills the `value` columns. One thread at a time.

    `since_ns` and `until_ns` bound the append time of requests. Raises NothingRecorded if no
    request lies between them, and the log's SystemFaults.
    """

    def __init__(
        self,
        recorded: Recorded,
        since_ns: int | None = None,
        until_ns: int | None = None,
        *,
        extract: Extract | None = None,
        requests_max: int = REQUESTS_MAX,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.notes = Notes()
        self._recorded = recorded
        self._since_ns, self._until_ns = since_ns, until_ns
        self._now_ns = clock.wall_ns()
        self._extract = extract
        input_parts = sources(recorded.stream(INPUT))
        self._begins_ns = _begins(input_parts)
        self._windows = windows(input_parts, since_ns, until_ns, requests_max)
        self._input = Feeds(input_parts, since_ns)
        self._scores = Feeds(sources(recorded.stream(SCORES)), since_ns)
        self._results = Feeds(sources(recorded.stream(RESULTS)), since_ns)
        scores = recorded.stream(SCORES)
        self._models = Names(scores.topics() if scores is not None else ())
        self._calibration = Calibration()
        self._chunk_count = 0
        for feeds in (self._input, self._scores, self._results):
            feeds.note_gaps(self.notes)

    @property
    def request_count(self) -> int:
        """The number of records of the input between the bounds."""
        return sum(part.offset_at(self._until_ns) - first for part, first in self._input.left())

    def _is_known(self, result: Result, time_ns: int) -> bool:
        """Return whether the result's request should be among those that are read."""
        asked_ns = time_ns - int(result.waited_ms * 1e6)
        begin_ns = self._begins_ns.get(result.reply_to)
        if begin_ns is None or asked_ns < begin_ns + SLACK_NS * (begin_ns > 0):
            return False
        if self._since_ns is not None and asked_ns < self._since_ns + SLACK_NS:
            return False
        return asked_ns < self._now_ns - SLACK_NS

    def __iter__(self) -> Iterator[Joined]:
        scores = Scores(self._models, self._extract)
        results = Results(self._extract, self._is_known)
        for _, until_ns in self._windows:
            with collector_paused():
                joined = self._window(until_ns, scores, results)
            if joined is not None:
                yield joined
            scores.forget(until_ns, self.notes)
            results.forget(until_ns, self.notes)
        if not self.notes.requests:
            raise NothingRecorded(self._recorded.directory)
        self.notes.arrival_error_ms = self._calibration.error_ms
        if self._extract is not None and self._extract.unreadable:
            self.notes.unreadable["answers"] = self._extract.unreadable

    def _window(self, until_ns: int | None, scores: Scores, results: Results) -> Joined | None:
        """Return the join of the requests appended before `until_ns`; None if there are none."""
        notes = self.notes
        requests = Requests()
        for chunk in self._input.read_until(until_ns, notes):
            requests.add(self._next_number(), chunk, notes)
        requests.finish(notes)
        horizon_ns = None
        if until_ns is not None:
            horizon_ns = until_ns + HORIZON_NS + int(requests.longest_ms() * 1e6)
        for chunk in self._scores.read_until(horizon_ns, notes):
            scores.add(self._next_number(), chunk, notes)
        for chunk in self._results.read_until(horizon_ns, notes):
            is_own = chunk.topic.endswith(BACKSTOP_SUFFIX)
            results.add(self._next_number(), chunk, notes, is_own=is_own)
        if not len(requests):
            return None
        found = results.match(requests, self._models, notes)
        return scores.match(requests, found, self._calibration, notes)

    def _next_number(self) -> int:
        self._chunk_count += 1
        return self._chunk_count


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector for a block.

    A window makes millions of objects and no cycles; the search for cycles would take longest.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read_joined(
    directory: str,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    extract: Extract | None = None,
) -> tuple[Joined, Notes]:
    """Return everything at once: 200 bytes a request, and 25 for each of its models. See `Join`."""
    with Recorded(directory) as recorded:
        join = Join(recorded, since_ns, until_ns, extract=extract)
        return concat_joined(list(join)), join.notes


def _begins(parts: list[Source]) -> dict[str, int]:
    """Return by topic since when all its partitions are recorded; 0 if they always were."""
    begins: dict[str, int] = {}
    for part in parts:
        begin_ns = part.time_at(part.begin) if part.begin and part.begin < part.end else 0
        if part.begin and part.begin == part.end:
            begin_ns = 2**62
        begins[part.topic] = max(begins.get(part.topic, 0), begin_ns)
    return begins
