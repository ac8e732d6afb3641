"""Which version of its schedule each arm had when, as recorded: pairs are decided by these.

An edit of a schedule, or a promotion, must not change what is said about earlier requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import COHORTS_TOPIC, CONTROL

UNKNOWN = -1
Rows = npt.NDArray[np.int64]


class _Cohort(msgspec.Struct):
    schedule: str


class _Line(msgspec.Struct):
    """The fields of a line of `control:cohorts` that are needed here."""

    since_ns: int
    cohorts: dict[str, _Cohort]


_decoder = msgspec.json.Decoder(_Line)


@dataclass
class _Arm:
    """The versions of one arm; `times_ns` and `codes` say since when each was recorded."""

    times_ns: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seen_ns: int = -1
    """When a request of this arm was last decided, and by which version."""
    seen: int = UNKNOWN


class Versions:
    """The versions of every arm's schedule. For one thread; batches in the order of time.

    A version is in force from when it was recorded (`control`), or was first seen to decide a
    request of the arm, whatever came last. Where neither is recorded, it is the file of today.
    """

    def __init__(self, shelf: ScheduleShelf, files: Mapping[str, Schedule]) -> None:
        """`files` are the schedules of the arms as the files are now."""
        self._shelf, self._files = shelf, files
        self._arms: dict[str, _Arm] = {}
        self._codes: dict[str, int] = {}
        self.used: dict[str, Counter[str]] = {}
        """How many requests each arm's versions have decided, by label, in the order of time."""
        self.not_recorded: set[str] = set()
        """Arms for which the files of today were used."""

    def record(self, arm: str, time_ns: int, label: str) -> None:
        """Note that a version was in force from then on; calls in the order of time."""
        versions = self._arms.setdefault(arm, _Arm())
        versions.times_ns.append(time_ns)
        versions.codes.append(self._code(label))

    def groups(self, arm: str, joined: Joined, own: Rows) -> Iterator[tuple[Schedule, Rows]]:
        """Yield the versions that were in force for the requests of a batch, and their rows.

        `own` are the rows that were in this arm. A request whose version is lost is in none.
        """
        codes = self._in_force(arm, joined, own)
        labels = list(self._codes)
        for code in np.unique(codes).tolist():
            rows = np.flatnonzero(codes == code)
            schedule = self._shelf.find(labels[code]) if code != UNKNOWN else self._file(arm)
            if schedule is not None:
                self.used.setdefault(arm, Counter())[schedule.label] += len(rows)
                yield schedule, rows

    def _file(self, arm: str) -> Schedule | None:
        versions = self._arms.get(arm, _Arm())
        if versions.codes or versions.seen != UNKNOWN:
            return None  # something is recorded, but not of this time
        if arm in self._files:
            self.not_recorded.add(arm)
        return self._files.get(arm)

    def _code(self, label: str) -> int:
        return self._codes.setdefault(label, len(self._codes))

    def _in_force(self, arm: str, joined: Joined, own: Rows) -> npt.NDArray[np.int64]:
        """Return the code of the version that was in force for each request."""
        versions, times_ns = self._arms.setdefault(arm, _Arm()), joined.append_ns
        codes = np.array([UNKNOWN, *versions.codes], np.int64)
        begins_ns = np.array([-1, *versions.times_ns], np.int64)
        at = np.searchsorted(begins_ns[1:], times_ns, "right")
        recorded, since_ns = codes[at], begins_ns[at]
        deciding = self._deciding(joined, own)
        rows = own[deciding != UNKNOWN]
        seen = np.concatenate([[versions.seen], deciding[deciding != UNKNOWN]])
        seen_ns = np.concatenate([[versions.seen_ns], times_ns[rows]])
        last = np.searchsorted(rows, np.arange(len(joined)), "right")
        found = np.where(seen_ns[last] >= since_ns, seen[last], recorded)
        versions.seen, versions.seen_ns = int(seen[-1]), int(seen_ns[-1])
        return np.asarray(np.where(found == UNKNOWN, recorded, found), np.int64)

    def _deciding(self, joined: Joined, own: Rows) -> npt.NDArray[np.int64]:
        """Return by which version the requests of an arm were decided; UNKNOWN without a result.

        A result by another schedule than the cohort's (it was not known) does not count.
        """
        names, asked = joined.label.names, joined.asked
        table = np.full(len(names) + 1, UNKNOWN, np.int64)  # the last one is that of NONE
        for code, label in enumerate(names):
            if self._shelf.find(label) is not None:
                table[code] = self._code(label)
        found = table[joined.label.codes[own]]
        plain = np.array([label.partition("@")[0] for label in names] + [""])
        wanted = np.array([*asked.names, ""])[asked.codes[own]]
        is_other = (wanted != "") & (wanted != plain[joined.label.codes[own]])
        return np.asarray(np.where(is_other, UNKNOWN, found), np.int64)


def read_versions(
    recorded: Recorded, rest: str, files: Mapping[str, Schedule], notes: Notes
) -> Versions:
    """Read the recorded versions; `rest` is the arm of the live schedule.

    Raises the log's SystemFaults.
    """
    shelf = read_schedules(recorded, notes)
    versions = Versions(shelf, files)
    for one in sorted(shelf.versions, key=lambda one: one.time_ns):
        versions.record(rest, one.time_ns, one.label)
    lines: list[_Line] = []
    for source in sources(recorded.stream(CONTROL), [COHORTS_TOPIC]):
        for chunk in source.chunks(source.begin, source.end, notes):
            found: list[Any] = decode_chunk(chunk, _decoder.decode_lines, _decoder.decode)
            lines += [line for line in found if line is not None]
    for line in sorted(lines, key=lambda line: line.since_ns):
        for name, cohort in line.cohorts.items():
            versions.record(name, line.since_ns, cohort.schedule)
    return versions
