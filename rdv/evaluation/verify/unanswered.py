"""Requests without a result: a promise broken, or nobody was left to be answered.

A proxy answers every request that it has taken. One that was killed does not; a server that comes
back later than the SLA then finds nobody who waits, and decides nothing. So a request without a
result is a fault unless its proxy's run was over: from after the time at which the request was due
there is no later request of the proxy before its next run, and no word of the run in
`control:status`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rdv.evaluation.joined import NOBODY, Joined
from rdv.evaluation.liveness import NEVER_NS, read_proxy_runs
from rdv.evaluation.notes import Notes
from rdv.evaluation.places import RESULTS, Recorded
from rdv.evaluation.reading.source import sources
from rdv.schedule import SLA_MS_MAX

if TYPE_CHECKING:
    from rdv.evaluation.verify.check import Verification

GRACE_NS = 2 * 10**9
"""From when an answer is due until it must be on record: a disk may have been full for a while,
but somebody who reads must not wait for long."""
HELD_MAX = 100_000
IDS_MAX = 1_000
STARTING_NS = 10**9
"""A run may take a request just before its first word is on record."""


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
        self._next_ns: dict[str, int] = {}
        """By id of a missing one: when its proxy took the first request after it was due."""
        self._awaiting: dict[str, list[_Missing]] = {}
        self._begin_ns = {
            source.topic: source.time_at(source.begin)
            for source in sources(recorded.stream(RESULTS))
            if source.begin
        }

    def look(self, joined: Joined) -> None:
        for row in np.flatnonzero(joined.answered_by == NOBODY).tolist():
            if len(self._missing) >= HELD_MAX:
                self._beyond += 1
                continue
            wait_ms = min(float(np.nan_to_num(joined.deadline_ms[row], nan=SLA_MS_MAX)), SLA_MS_MAX)
            asked_ns = int(joined.append_ns[row])
            due_ns = asked_ns + int(wait_ms * 1e6) + GRACE_NS
            one = _Missing(joined.id(row), joined.proxy.at(row) or "", asked_ns, due_ns)
            self._missing.append(one)
            self._awaiting.setdefault(one.proxy, []).append(one)
        self._look_for_later(joined)

    def _look_for_later(self, joined: Joined) -> None:
        """Batches are in order of time: a request's successors are in its own or in later ones."""
        for code, proxy in enumerate(joined.proxy.names):
            if not (awaiting := self._awaiting.get(proxy)):
                continue
            times_ns = np.sort(joined.append_ns[joined.proxy.codes == code])
            left = []
            for one in awaiting:
                at = int(np.searchsorted(times_ns, one.due_ns, "right"))
                if at < len(times_ns):
                    self._next_ns[one.id] = int(times_ns[at])
                else:
                    left.append(one)
            self._awaiting[proxy] = left

    def settle(self, found: Verification) -> None:
        """Tell faults from the rest."""
        found.unanswered += self._beyond
        if not self._missing:
            return
        runs = read_proxy_runs(self._recorded, self._notes)
        for one in self._missing:
            began_ns = runs.next_began_ns(one.proxy, one.asked_ns)
            if one.due_ns > self._now_ns:
                found.open += 1
            elif one.asked_ns < self._begin_ns.get(one.proxy, 0):
                found.unchecked["results of that time are gone by retention"] += 1
            elif self._next_ns.get(one.id, NEVER_NS) >= began_ns - STARTING_NS and not (
                runs.lived_on(one.proxy, one.asked_ns, one.due_ns)
            ):
                found.lost_with_proxy += 1
            else:
                found.unanswered += 1
                if len(found.unanswered_ids) < IDS_MAX:
                    found.unanswered_ids.append(one.id)
