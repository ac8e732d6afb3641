"""Requests without a result: a promise broken, or nobody was left to be answered.

A proxy answers every request that it has taken. One that was killed does not; a server that comes
back later than the SLA then finds nobody who waits, and decides nothing. So a request without a
result is a fault unless its proxy's run was over: there is no later request of the same run (ids
begin with the run's digits), and no word of it in `control:status`, from after the time at which
the request was due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rdv.evaluation.joined import NOBODY, Joined
from rdv.evaluation.liveness import read_proxy_runs
from rdv.evaluation.notes import Notes
from rdv.evaluation.places import RESULTS, Recorded
from rdv.evaluation.reading.source import sources
from rdv.messages.ids import PREFIX_BYTES
from rdv.schedule import SLA_MS_MAX

if TYPE_CHECKING:
    from rdv.evaluation.verify.check import Verification

GRACE_NS = 2 * 10**9
"""From when an answer is due until it must be on record: a disk may have been full for a while,
but somebody who reads must not wait for long."""
HELD_MAX = 100_000
IDS_MAX = 1_000
_PREFIX_DIGITS = 2 * PREFIX_BYTES


class _Missing(NamedTuple):
    id: str
    proxy: str
    asked_ns: int
    due_ns: int


class Unanswered:
    """Looks at all batches, then settles. One thread at a time."""

    def __init__(self, recorded: Recorded, now_ns: int, notes: Notes) -> None:
        self._recorded, self._now_ns, self._notes = recorded, now_ns, notes
        self._missing: list[_Missing] = []
        self._beyond = 0
        self._last_ns: dict[bytes, int] = {}
        self._begin_ns = {
            source.topic: source.time_at(source.begin)
            for source in sources(recorded.stream(RESULTS))
            if source.begin
        }

    def look(self, joined: Joined) -> None:
        prefixes = joined.ids.astype(f"S{_PREFIX_DIGITS}")
        runs, first = np.unique(prefixes[::-1], return_index=True)
        last_ns = joined.time_ns[::-1][first]  # rows are by time: the first from behind
        for run, time_ns in zip(runs.tolist(), last_ns.tolist(), strict=True):
            self._last_ns[run] = max(self._last_ns.get(run, 0), time_ns)
        for row in np.flatnonzero(joined.answered_by == NOBODY).tolist():
            if len(self._missing) >= HELD_MAX:
                self._beyond += 1
                continue
            wait_ms = min(float(np.nan_to_num(joined.deadline_ms[row], nan=SLA_MS_MAX)), SLA_MS_MAX)
            asked_ns = int(joined.append_ns[row])
            self._missing.append(
                _Missing(
                    joined.id(row),
                    joined.proxy.at(row) or "",
                    asked_ns,
                    asked_ns + int(wait_ms * 1e6) + GRACE_NS,
                )
            )

    def settle(self, found: Verification) -> None:
        """Tell faults from the rest."""
        found.unanswered += self._beyond
        if not self._missing:
            return
        runs = read_proxy_runs(self._recorded, self._notes)
        for one in self._missing:
            prefix = one.id.encode()[:_PREFIX_DIGITS]
            if one.due_ns > self._now_ns:
                found.open += 1
            elif one.asked_ns < self._begin_ns.get(one.proxy, 0):
                found.unchecked["results of that time are gone by retention"] += 1
            elif self._last_ns.get(prefix, 0) < one.due_ns and not runs.lived_on(
                one.proxy, one.asked_ns, one.due_ns
            ):
                found.lost_with_proxy += 1
            else:
                found.unanswered += 1
                if len(found.unanswered_ids) < IDS_MAX:
                    found.unanswered_ids.append(one.id)
