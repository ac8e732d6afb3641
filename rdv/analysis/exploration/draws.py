"""Make the draws of exploring cohorts again: from a request's key and id, and `control:cohorts`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.rendezvous.topology import COHORTS_TOPIC, CONTROL

NEAR_NS = 60 * 10**9
"""How far a proxy and the server that records the cohorts may be apart in following an edit."""
_ROUNDING = 1e-9


class _Cohort(msgspec.Struct):
    share: float = 0.0
    schedule: str = ""
    explore: float = 0.0


class _Line(msgspec.Struct):
    """A line of `control:cohorts`."""

    time_ns: int
    since_ns: int
    salt: str = ""
    cohorts: dict[str, _Cohort] = {}


_decoder = msgspec.json.Decoder(_Line)


@dataclass
class Draws:
    """The cohorts that were in force, by time."""

    times_ns: list[int] = field(default_factory=list)
    versions: list[Cohorts] = field(default_factory=list)

    @property
    def explores(self) -> bool:
        """Whether any cohort has ever explored."""
        return any(version.explores for version in self.versions)

    def near(self, time_ns: int) -> Iterator[Cohorts]:
        """Yield the cohorts that may have been in force at a time, the likeliest first."""
        last = bisect_right(self.times_ns, time_ns) - 1
        order = [last, last + 1, last - 1]
        for at in order:
            if not 0 <= at < len(self.versions):
                continue
            begins_ns = self.times_ns[at]
            ends_ns = self.times_ns[at + 1] if at + 1 < len(self.times_ns) else 2**62
            if begins_ns - NEAR_NS <= time_ns < ends_ns + NEAR_NS or at == 0:
                yield self.versions[at]

    def fault(self, request: Request) -> dict[str, tuple[object, object]]:
        """Return what is not as the draw is made again, as field: (recorded, drawn again)."""
        if request.propensity is None or not self.versions:
            return {}
        first: dict[str, tuple[object, object]] | None = None
        for cohorts in self.near(request.time_ns):
            again = cohorts.drawn(request.key, request.id)
            pairs: dict[str, tuple[object, object]] = {
                "cohort": (request.cohort, again.cohort),
                "propensity": (request.propensity, again.propensity),
            }
            wrong = {name: pair for name, pair in pairs.items() if not _is_same(*pair)}
            if not wrong:
                return {}
            first = wrong if first is None else first
        return first or {}


def _is_same(first: object, second: object) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return abs(first - second) <= _ROUNDING
    return first == second


def read_draws(recorded: Recorded, notes: Notes) -> Draws:
    """Read the recorded cohorts. Raises the log's SystemFaults."""
    lines: list[_Line] = []
    for source in sources(recorded.stream(CONTROL), [COHORTS_TOPIC]):
        for chunk in source.chunks(source.begin, source.end, notes):
            found: list[Any] = decode_chunk(chunk, _decoder.decode_lines, _decoder.decode)
            lines += [line for line in found if line is not None]
    draws = Draws()
    for line in sorted(lines, key=lambda line: (line.since_ns, line.time_ns)):
        draws.times_ns.append(line.since_ns)
        draws.versions.append(_cohorts(line))
    return draws


def _cohorts(line: _Line) -> Cohorts:
    groups = line.cohorts
    return Cohorts(
        line.salt,
        {name: one.share for name, one in groups.items()},
        {name: one.schedule.partition("@")[0] for name, one in groups.items()},
        {name: one.explore for name, one in groups.items() if one.explore},
    )
