"""The last requests of a decision, joined with their reports and held in memory for all viewers.

Most views need the same columns: they are read once for everybody, and again when they are needed
and have become old. Memory is bounded by the number of requests and by their bytes in the log.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import Joined, concat_joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.dataset.source import Source, sources
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.measure import Measure, choose_measure
from rdv.analysis.whatif.held import HeldRequests
from rdv.decision import Decision
from rdv.decision.decision import read_schedules as read_files
from rdv.rendezvous.topology import INPUT, RESULTS, SCORES

REQUESTS_MAX = 100_000
BYTES_MAX = 256 * 1024 * 1024
"""About how many bytes of the log the requests may take, with their reports and results."""
FRESH_S = 5.0
"""How long they are used before they are read again, in seconds, if that was quick."""
BUSY_SHARE = 0.1
"""The share of the time that reading may take while people look."""
SPANS_MAX = 2
"""How many spans of time are kept, for people who look at different incidents."""
SETTLING_MS = 500
"""How long after its SLA a request has its result in the log, usually."""
_MS_NS = 1_000_000


@dataclass(frozen=True)
class LastRequests:
    """The joined columns of one span of time. Read-only.

    `measure` is for one thread at a time: take `lock` around everything that extracts values.
    """

    number: int
    """Counts readings, so that results can be kept for one of them."""
    decision: Decision
    joined: Joined
    since_ns: int
    """The append time of the first request, in whole ms; a bound for `--since`."""
    until_ns: int
    measure: Measure
    outcomes: Outcomes
    shelf: ScheduleShelf
    notes: Notes
    lock: threading.RLock

    def __len__(self) -> int:
        return len(self.joined)

    @cached_property
    def truths(self) -> npt.NDArray[np.float64]:
        """The value of each known outcome; NaN elsewhere."""
        with self.lock:
            return self.outcomes.of(self.joined, self.measure.extract)

    @cached_property
    def held(self) -> HeldRequests:
        """What is needed to decide them by another schedule. Hold `lock`."""
        return HeldRequests(self.joined, self.shelf, self.measure, self.outcomes)


class Latest:
    """Reads the last requests when they are needed. Thread-safe; one thread reads at a time."""

    def __init__(self, decision: Callable[[], Decision], requests_max: int = REQUESTS_MAX) -> None:
        self._decision, self._requests_max = decision, requests_max
        self._lock = threading.Lock()
        self._found: LastRequests | None = None
        self._until_s = 0.0
        self._numbers = itertools.count(1)
        self._spans_lock = threading.Lock()
        self._spans: OrderedDict[tuple[int, int], LastRequests] = OrderedDict()

    def get(self, *, fresh: bool = True) -> LastRequests:
        """Return the last requests, read anew if they are old, and `fresh` ones are wanted.

        Raises NothingRecorded, and the log's SystemFaults.
        """
        with self._lock:
            found = self._found
            if found is not None and (not fresh or time.monotonic() < self._until_s):
                return found
            begin_s = time.monotonic()
            # The old columns are let go first, so that memory holds them once.
            self._found = None
            del found
            self._found = read_last(self._decision(), self._requests_max, next(self._numbers))
            took_s = time.monotonic() - begin_s
            self._until_s = time.monotonic() + max(FRESH_S, took_s / BUSY_SHARE)
            return self._found

    def between(self, since_ns: int, until_ns: int) -> LastRequests:
        """Return the requests of a span of time, such as an incident; of a long one the last ones.

        The spans that were asked for last are kept. Raises NothingRecorded, and SystemFaults.
        """
        span = since_ns, until_ns
        with self._spans_lock:
            if span not in self._spans:
                while len(self._spans) >= SPANS_MAX:  # before reading, for the sake of memory
                    self._spans.popitem(last=False)
                self._spans[span] = read_last(
                    self._decision(), self._requests_max, next(self._numbers), span
                )
            self._spans.move_to_end(span)
            return self._spans[span]


def read_last(
    decision: Decision,
    requests_max: int = REQUESTS_MAX,
    number: int = 0,
    span_ns: tuple[int, int] | None = None,
) -> LastRequests:
    """Read about the last `requests_max` requests (of a span), fewer if they are large.

    See `Latest.get`.
    """
    with Recorded(decision.directory) as recorded:
        # Younger requests may not have been answered yet.
        settled_ns = time.time_ns() - int((_sla_ms(decision) + SETTLING_MS) * _MS_NS)
        until_ns = min(settled_ns, settled_ns if span_ns is None else span_ns[1]) // _MS_NS * _MS_NS
        since_ns = _since_ns(recorded, requests_max, until_ns)
        if span_ns is not None:
            since_ns = max(since_ns, span_ns[0] // _MS_NS * _MS_NS)
        measure = choose_measure(recorded, decision.outcome, None, "", decision.value)
        join = Join(recorded, since_ns, until_ns, extract=measure.extract)
        joined = concat_joined(list(join))
        return LastRequests(
            number,
            decision,
            joined,
            since_ns,
            until_ns,
            measure,
            read_outcomes(recorded, join.notes),
            read_schedules(recorded, join.notes),
            join.notes,
            threading.RLock(),
        )


def _sla_ms(decision: Decision) -> float:
    """Return the longest SLA of the decision's schedules, in ms."""
    found = read_files(decision.directory).by_name.values()
    return max((schedule.sla_ms for schedule in found), default=0.0)


def _since_ns(recorded: Recorded, requests_max: int, until_ns: int) -> int:
    """Return a time in whole ms from which on there are at most so many requests."""
    parts = sources(recorded.stream(INPUT))
    total = sum(part.end - part.begin for part in parts)
    if not total:
        raise NothingRecorded(recorded.directory)
    most = max(1, min(requests_max, int(BYTES_MAX / _request_bytes(recorded, total))))
    begin_ns = min((time_ns for p in parts if p.begin < p.end and (time_ns := p.time_at(p.begin))),
                   default=0)  # fmt: skip
    low, high = begin_ns // _MS_NS, until_ns // _MS_NS
    if _count(parts, low * _MS_NS, until_ns) <= most:
        return low * _MS_NS
    while high - low > 1:
        middle = (low + high) // 2
        if _count(parts, middle * _MS_NS, until_ns) <= most:
            high = middle
        else:
            low = middle
    return high * _MS_NS


def _count(parts: list[Source], since_ns: int, until_ns: int) -> int:
    return sum(part.offset_at(until_ns) - part.offset_at(since_ns) for part in parts)


def _request_bytes(recorded: Recorded, requests: int) -> float:
    """Return about how many bytes of the log belong to one request."""
    size = 0
    for name in (INPUT, SCORES, RESULTS):
        stream = recorded.stream(name)
        if stream is not None:
            for topic in stream.topics():
                size += sum(
                    stream.size_bytes(topic, number) for number in range(stream.partitions(topic))
                )
    return max(1.0, size / requests)
