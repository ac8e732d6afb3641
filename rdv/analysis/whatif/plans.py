"""Decide requests that follow several schedules: each by its own, then combined.

A request follows the new schedule, or another one that it has asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import NONE, Joined
from rdv.analysis.dataset.schedules import ScheduleShelf, inline
from rdv.analysis.dataset.values import Extract
from rdv.analysis.whatif.arrivals import FOREVER_US, Arrivals
from rdv.analysis.whatif.decide import NO_MODEL, Decided, decide_all
from rdv.analysis.whatif.result import names_of, values_of
from rdv.rendezvous.schedule import Schedule


@dataclass(frozen=True)
class Plans:
    """The live schedule, and those that requests and cohorts ask for by name."""

    live: Schedule
    named: Mapping[str, Schedule]

    def groups(self, joined: Joined) -> Iterator[tuple[Schedule, npt.NDArray[np.int64], bool]]:
        """Yield (schedule, rows, whether it exists) for all that have rows; together each row once.

        A request for a schedule that does not exist gets the live one's default at once.
        """
        codes = joined.asked.codes
        if len(rows := np.flatnonzero(codes == NONE)):
            yield self.live, rows, True
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
    if it is below the SLA of the schedule that decided, or if that schedule is unknown.
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
    return lambda label, asked: getattr(shelf.find(label, asked), "sla_ms", None)


def decide_plans(plans: Plans, joined: Joined, arrivals: Arrivals) -> Decided:
    """Decide every request by the schedule that it gets."""
    whole = Decided.empty(len(arrivals.models), len(joined))
    for schedule, rows, exists in plans.groups(joined):
        if len(rows) == len(joined) and exists:
            return decide_all(schedule, arrivals)
        part = arrivals.take(rows)
        if not exists:
            part = replace(part, wait_us=np.zeros(len(rows), np.int64))
        whole.put(rows, decide_all(schedule, part))
    return whole


def decide_rows(
    plans: Plans, joined: Joined, rows: npt.NDArray[np.int64], arrivals: Arrivals
) -> Decided:
    """Decide some of the requests by the schedules that they get, with these arrivals."""
    if len(rows) == len(joined):
        return decide_plans(plans, joined, arrivals)
    asked = joined.asked.take(rows)
    if (asked.codes == NONE).all():
        return decide_all(plans.live, arrivals)
    return decide_plans(plans, joined.take(rows), arrivals)


def default_values(joined: Joined, plans: Plans, extract: Extract) -> npt.NDArray[np.float64]:
    """Return the value of the default that each request would get, (n,)."""
    values = np.full(len(joined), np.nan)
    for schedule, rows, _ in plans.groups(joined):
        values[rows] = extract.of_answer(schedule.default)
    return values


def all_names(joined: Joined, decided: Decided, plans: Plans) -> list[str | None]:
    """Return the model that answers each request."""
    names: list[str | None] = [None] * len(joined)
    for schedule, rows, _ in plans.groups(joined):
        if len(rows) == len(joined):
            return names_of(joined, decided, schedule)
        found = names_of(joined.take(rows), decided.take(rows), schedule)
        for row, name in zip(rows.tolist(), found, strict=True):
            names[row] = name
    return names


def all_values(
    joined: Joined, decided: Decided, plans: Plans, extract: Extract
) -> npt.NDArray[np.float64]:
    """Return the value of each answer; `decided` is changed where answers cannot be combined."""
    values = np.full(len(joined), np.nan)
    for schedule, rows, exists in plans.groups(joined):
        if len(rows) == len(joined):
            return values_of(joined, decided, schedule, extract)
        part = decided.take(rows)
        if not exists:
            part.model[:] = NO_MODEL
        values[rows] = values_of(joined.take(rows), part, schedule, extract)
        decided.kind[rows], decided.is_combined[rows] = part.kind, part.is_combined
    return values
