"""The hours before some time, as columns that windows are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.digests.hour import (
    HOUR_NS,
    BadDigest,
    Column,
    Hour,
    hour_name,
    hours_there,
    read_hour,
)
from rdv.rendezvous.topology import INPUT

_NAMED = 3
"""How many bad digests are named each."""

Floats = npt.NDArray[np.float64]
Read = Callable[[Column], Floats]
"""Returns the values of a column, in the codes of the study."""


@dataclass(frozen=True, eq=False)
class PastColumn:
    """Values of some hours: when, what, of which key, and how many keys each stands for."""

    times_ns: npt.NDArray[np.int64]
    values: Floats
    keys: Keys
    weights: Floats

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Past:
    """The digests of the hours before some time, in order; `problems` names what is missing."""

    hours: tuple[Hour, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def weeks(self) -> int:
        """The number of weeks that the digests go back, begun ones counted."""
        if not self.hours:
            return 0
        return -(-(self.hours[-1].hour + 1 - self.hours[0].hour) // 168)

    def slots(self, period_ns: int) -> npt.NDArray[np.int64]:
        """Return the hours of the period that have requests."""
        found = {one.hour % (period_ns // HOUR_NS) for one in self.hours if one.requests}
        return np.array(sorted(found), np.int64)

    def field(self, name: str, read: Read, *, presence: bool = False) -> PastColumn:
        """Return a field of the input; with `presence`, 1 where it was there and 0 elsewhere."""
        return _column(self.hours, [one.fields.get(name) for one in self.hours], read, presence)

    def answers(self, model: str, names: Sequence[str], read: Read) -> PastColumn:
        """Return the first of these fields of a model's answers that it has in each hour."""
        columns = []
        for one in self.hours:
            answers = one.models.get(model, {})
            columns.append(next((answers[name] for name in names if name in answers), None))
        return _column(self.hours, columns, read, presence=False)


NO_PAST = Past()


def _column(
    hours: Sequence[Hour], columns: Iterable[Column | None], read: Read, presence: bool
) -> PastColumn:
    parts: list[tuple[npt.NDArray[np.int64], Floats, Keys, Floats]] = []
    for hour, column in zip(hours, columns, strict=True):
        drawn = hour.drawn
        if presence:
            there = 0 if column is None else len(column)
            values = np.repeat([1.0, 0.0], [there, len(drawn) - there])
        else:
            values = np.empty(0) if column is None else read(column)
        count = len(values)
        if count:
            # Which key has which value is not kept: all of an hour weigh the same.
            weights = np.full(count, hour.keys / len(drawn))
            times_ns = np.full(count, hour.hour * HOUR_NS, np.int64)
            parts.append((times_ns, values, drawn[:count], weights))
    if not parts:
        none = np.empty(0)
        return PastColumn(np.empty(0, np.int64), none, np.empty(0, np.uint64), none)
    return PastColumn(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def read_past(recorded: Recorded, since_ns: int | None = None) -> Past:
    """Return the digests of whole hours before the first request at or after `since_ns`.

    What is missing between them, or cannot be read, is named and left out. Raises SystemFaults if
    the folder or the log cannot be read.
    """
    before_ns, directory = _first_ns(recorded, since_ns), recorded.directory
    wanted = [hour for hour in hours_there(directory) if (hour + 1) * HOUR_NS <= before_ns]
    found, bad = list[Hour](), list[str]()
    for hour in wanted:
        try:
            found.append(read_hour(directory, hour))
        except BadDigest as error:
            bad.append(f"{hour_name(hour)}: {error}")
    problems = []
    if bad:
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        problems.append(
            f"{len(bad):,} hourly digests cannot be used ({'; '.join(bad[:_NAMED])}{more}): "
            "drift is compared with the others"
        )
    missing = wanted[-1] + 1 - wanted[0] - len(wanted) if wanted else 0
    if missing:
        since = hour_name(wanted[0])
        problems.append(f"{missing:,} hours since {since} have no digest (rdv serve did not run)")
    return Past(tuple(found), tuple(problems))


def _first_ns(recorded: Recorded, since_ns: int | None) -> int:
    """Return when the first request of a period was appended; 0 if there is none."""
    found = []
    for part in sources(recorded.stream(INPUT)):
        at = part.begin if since_ns is None else part.offset_at(since_ns)
        if at < part.end and (time_ns := part.time_at(at)):
            found.append(time_ns)
    return min(found, default=0)
