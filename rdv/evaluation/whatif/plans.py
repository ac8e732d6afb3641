"""Choose the schedule of each request: the new one, or another one that it has asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.coded import NONE
from rdv.evaluation.joined import Joined
from rdv.evaluation.schedules import ScheduleShelf, inline
from rdv.evaluation.whatif.arrivals import FOREVER_US
from rdv.schedule import Schedule


@dataclass(frozen=True)
class Plans:
    """The live schedule, and those that requests and cohorts ask for by name."""

    live: Schedule
    named: Mapping[str, Schedule]

    def groups(self, joined: Joined) -> Iterator[tuple[Schedule, npt.NDArray[np.int64], bool]]:
        """Yield (schedule, rows, whether it exists), together every row once.

        A request for a schedule that does not exist gets the live one's default at once.
        """
        codes = joined.asked.codes
        yield self.live, np.flatnonzero(codes == NONE), True
        for code, asked in enumerate(joined.asked.names):
            rows = np.flatnonzero(codes == code)
            if not len(rows):
                continue
            schedule = inline(asked) if asked.startswith("{") else self.named.get(asked)
            yield (self.live, rows, False) if schedule is None else (schedule, rows, True)


def own_limits_us(
    joined: Joined, sla_ms: Callable[[str, str | None], float | None]
) -> npt.NDArray[np.int64]:
    """Return the client's own limit, (n,); FOREVER_US without one.

    The proxy has written the smaller of SLA and client's limit into the request: it is the client's
    if it is below the SLA of the schedule that decided. For an unknown schedule it counts as the
    client's.
    """
    limit_us = np.full(len(joined), FOREVER_US, np.int64)
    given = ~np.isnan(joined.deadline_ms)
    sla_us = np.full(len(joined), float(FOREVER_US))
    for code, label in enumerate(joined.label.names):
        rows = np.flatnonzero(joined.label.codes == code)
        known = sla_ms(label, joined.asked.at(int(rows[0]))) if len(rows) else None
        if known is not None:
            sla_us[rows] = known * 1000
    asked_us = np.rint(np.where(given, joined.deadline_ms, 0) * 1000)
    own = given & (asked_us < sla_us)
    limit_us[own] = np.maximum(0, asked_us[own]).astype(np.int64)
    return limit_us


def sla_of(shelf: ScheduleShelf) -> Callable[[str, str | None], float | None]:
    """Return a function that finds SLAs in ms by label."""

    def find(label: str, asked: str | None) -> float | None:
        schedule = shelf.find(label, asked)
        return None if schedule is None else schedule.sla_ms

    return find
