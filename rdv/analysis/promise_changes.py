"""Find the recorded change at which a promised quality broke: of a model's version, or a schedule.

Only recorded changes are candidates. One is named if the metric before it and after it have
intervals that do not overlap, at a level that is spread over all candidates, the promise is
surely broken after it but not before it, and what came after it is steady. Where the outcomes
between two changes are too few to tell them apart, both are named; where nothing can be told,
nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import read_schedules
from rdv.analysis.dataset.source import sources
from rdv.analysis.measure.sides import Judged
from rdv.analysis.metrics import Metric, estimate
from rdv.analysis.statistics import Interval, InvalidSample
from rdv.rendezvous.topology import CONTROL, EVENTS_TOPIC

CONFIDENCE = 0.95
CHANGES_MAX = 50
"""The maximum number of candidates, the newest."""
VERSION_CHANGED = "model_version_changed"
Mask = npt.NDArray[np.bool_]


class _Event(msgspec.Struct):
    """The fields of a line of `control:events` that are needed here."""

    code: str = ""
    message: str = ""
    time_ns: int = 0


_decoder = msgspec.json.Decoder(_Event)


@dataclass(frozen=True)
class Change:
    """A recorded change: `what` names the old and the new version."""

    time_ns: int
    what: str

    def sentence(self) -> str:
        begun = datetime.fromtimestamp(self.time_ns / 1e9, UTC)
        return f"{self.what} at {begun:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class Break:
    """The change at which the promise broke, with the metric before and after it.

    `changes` are several if the outcomes do not tell them apart.
    """

    changes: tuple[Change, ...]
    before: Interval
    after: Interval


def read_changes(recorded: Recorded, since_ns: int, until_ns: int) -> list[Change]:
    """Return the changes of model versions and of the live schedule, by time.

    Raises the log's SystemFaults.
    """
    notes, found = Notes(), list[Change]()
    for source in sources(recorded.stream(CONTROL), [EVENTS_TOPIC]):
        for chunk in source.chunks(source.begin, source.end, notes):
            lines: list[Any] = decode_chunk(chunk, _decoder.decode_lines, _decoder.decode)
            found += [
                Change(one.time_ns, one.message)
                for one in lines
                if one is not None and one.code == VERSION_CHANGED
            ]
    versions = sorted(read_schedules(recorded, notes).versions, key=lambda one: one.time_ns)
    last = ""
    for one in versions:
        if last not in ("", one.label):
            found.append(Change(one.time_ns, f"live schedule: {last} → {one.label}"))
        last = one.label
    within = (one for one in found if since_ns < one.time_ns <= until_ns)
    return sorted(within, key=lambda one: one.time_ns)[-CHANGES_MAX:]


def find_break(
    judged: Judged,
    times_ns: npt.NDArray[np.int64],
    changes: Sequence[Change],
    is_met: Callable[[float], bool],
) -> Break | None:
    """Return the change at which the quality of side 0 broke; None where nothing can be told.

    `times_ns` (n,) are those of the judged requests; `is_met` says whether a value is as promised.
    """
    metric = judged.measure.metric
    confidence = 1 - (1 - CONFIDENCE) / (2 * max(1, len(changes)))
    best: tuple[float, Break] | None = None
    for change in changes:
        before, after = (
            _interval(judged, rows, confidence)
            for rows in (times_ns < change.time_ns, times_ns >= change.time_ns)
        )
        if before is None or after is None or not _is_broken(metric, before, after, is_met):
            continue
        if not _is_steady(judged, times_ns, times_ns >= change.time_ns, confidence):
            continue  # it fell at another time, which no recorded change explains
        apart = abs(before.estimate - after.estimate) / _spread(before, after)
        if best is None or apart > best[0]:
            best = apart, Break((change,), before, after)
    if best is None:
        return None
    found = best[1]
    others = _as_likely(judged, times_ns, changes, found, confidence)
    return Break(tuple(others), found.before, found.after)


def _is_steady(
    judged: Judged, times_ns: npt.NDArray[np.int64], rows: Mask, confidence: float
) -> bool:
    """Return whether the halves of these requests do not surely differ."""
    middle = np.median(times_ns[rows])
    first, second = (
        _interval(judged, half, confidence)
        for half in (rows & (times_ns < middle), rows & (times_ns >= middle))
    )
    return first is None or second is None or _overlap(first, second)


def _as_likely(
    judged: Judged,
    times_ns: npt.NDArray[np.int64],
    changes: Sequence[Change],
    found: Break,
    confidence: float,
) -> Iterator[Change]:
    """Yield the changes that outcomes between them and the found one do not exclude."""
    at_ns = found.changes[0].time_ns
    for change in changes:
        first, last = sorted((change.time_ns, at_ns))
        between = _interval(judged, (times_ns >= first) & (times_ns < last), confidence)
        # An earlier change would have made what is between like what is after, a later one like
        # what is before.
        expected = found.after if change.time_ns < at_ns else found.before
        if first == last or between is None or _overlap(between, expected):
            yield change


def _is_broken(
    metric: Metric, before: Interval, after: Interval, is_met: Callable[[float], bool]
) -> bool:
    """Return whether the promise is surely broken after, and not surely before."""
    low_is_better = not metric.higher_is_better
    best_after = after.low if low_is_better else after.high
    best_before = before.low if low_is_better else before.high
    fell = after.estimate < before.estimate
    is_worse = fell if metric.higher_is_better else not fell
    return (
        is_worse and not _overlap(before, after) and not is_met(best_after) and is_met(best_before)
    )


def _overlap(first: Interval, second: Interval) -> bool:
    return first.low <= second.high and second.low <= first.high


def _spread(first: Interval, second: Interval) -> float:
    return max(math.hypot(first.high - first.low, second.high - second.low), 1e-12)


def _interval(judged: Judged, rows: Mask, confidence: float) -> Interval | None:
    """Return the metric on some of the requests; None if it cannot be bounded there."""
    part = judged.take(rows, (0,))
    if not len(part) or part.problem:
        return None
    options: dict[str, Any] = {
        "missing": part.measure.missing,
        "positive": part.measure.positive,
    }
    try:
        found = estimate(
            part.measure.metric, part.points[0], part.truth, part.keys, confidence, **options
        )
    except InvalidSample:
        return None
    return found if isinstance(found, Interval) and found.bounded else None
