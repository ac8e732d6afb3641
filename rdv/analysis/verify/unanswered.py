"""Find requests without a result: a broken promise, or no client was left to wait.

A proxy answers every request that it has accepted. A killed one does not; a server that restarts
later than the SLA then finds that no client waits, and decides nothing. So a request without a
result is a fault unless its proxy's run was over: after the time at which the request was due there
is no later request of the proxy before its next run, and no status line of the run in
`control:status`.

Times are on the monotonic clock of the proxy's boot, so that no step of a wall clock creates or
hides a fault; append times count only if no other times are recorded (rdv 0.1.0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import UNANSWERED, Joined
from rdv.analysis.dataset.liveness import BOOT_DIGITS, NEVER_NS, ProxyRuns, read_proxy_runs
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.verify.result import Verification
from rdv.clock import Clock
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.rendezvous.topology import RESULTS
from rdv.system.boot import boot_id

GRACE_NS = 2 * 10**9
"""How many ns after an answer is due it must be recorded: a disk may have been full for a while,
but a reader must not wait for long.
"""
HELD_MAX = 100_000
IDS_MAX = 1_000
STARTING_NS = 10**9
"""How many ns before its first status line a run may take a request."""

_NO_TIMES = np.empty(0, np.int64)


class _Missing(NamedTuple):
    id: str
    proxy: str
    host: str
    boot: str
    """The boot whose monotonic clock the times are on; empty if they are append times."""
    asked_ns: int
    due_ns: int
    append_ns: int


class Unanswered:
    """Reads all batches, then settles. For one thread at a time."""

    def __init__(self, recorded: Recorded, clock: Clock, notes: Notes) -> None:
        self._recorded, self._notes = recorded, notes
        self._wall_ns, self._monotonic_ns = clock.wall_ns(), clock.monotonic_ns()
        self._boot = boot_id().hex()[:BOOT_DIGITS]
        self._known_runs: ProxyRuns | None = None
        self._missing: list[_Missing] = []
        self._beyond = 0
        self._next_ns: dict[str, int] = {}
        """By id of a missing request: when its proxy took the first request after it was due."""
        self._awaiting: dict[str, list[_Missing]] = {}
        self._begin_ns = {
            source.topic: source.time_at(source.begin)
            for source in sources(recorded.stream(RESULTS))
            if source.begin
        }

    @property
    def _runs(self) -> ProxyRuns:
        if self._known_runs is None:
            self._known_runs = read_proxy_runs(self._recorded, self._notes)
        return self._known_runs

    def look(self, joined: Joined) -> None:
        for row in np.flatnonzero(joined.answered_by == UNANSWERED).tolist():
            if len(self._missing) >= HELD_MAX:
                self._beyond += 1
                continue
            wait_ms = min(float(np.nan_to_num(joined.deadline_ms[row], nan=SLA_MS_MAX)), SLA_MS_MAX)
            append_ns = asked_ns = int(joined.append_ns[row])
            host = joined.host.at(row) or ""
            boot = host.rpartition("/")[2]
            if self._runs.knows(boot):
                asked_ns = joined.request(row).monotonic_ns
            else:
                boot = ""
            due_ns = asked_ns + int(wait_ms * 1e6) + GRACE_NS
            proxy = joined.proxy.at(row) or ""
            one = _Missing(joined.id(row), proxy, host, boot, asked_ns, due_ns, append_ns)
            self._missing.append(one)
            self._awaiting.setdefault(one.proxy, []).append(one)
        self._look_for_later(joined)

    def _look_for_later(self, joined: Joined) -> None:
        """Find later requests of each proxy: they are in the same batch or in later ones."""
        for code, proxy in enumerate(joined.proxy.names):
            if not (awaiting := self._awaiting.get(proxy)):
                continue
            rows = np.flatnonzero(joined.proxy.codes == code)
            by_append_ns = np.sort(joined.append_ns[rows])
            by_host = _monotonic_times(joined, rows) if any(one.boot for one in awaiting) else {}
            left = []
            for one in awaiting:
                times_ns = by_host.get(one.host, _NO_TIMES) if one.boot else by_append_ns
                at = int(np.searchsorted(times_ns, one.due_ns, "right"))
                if at < len(times_ns):
                    self._next_ns[one.id] = int(times_ns[at])
                else:
                    left.append(one)
            self._awaiting[proxy] = left

    def settle(self, found: Verification) -> None:
        """Separate faults from other requests without a result."""
        found.unanswered += self._beyond
        if not self._missing:
            return
        runs = self._runs
        for one in self._missing:
            began_ns = runs.next_began_ns(one.proxy, one.asked_ns, one.boot)
            if self._is_open(one):
                found.open += 1
            elif one.append_ns < self._begin_ns.get(one.proxy, 0):
                text = "results of that time are gone by retention"
                found.leave_unchecked("result_not_recorded", text)
            elif self._next_ns.get(one.id, NEVER_NS) >= began_ns - STARTING_NS and not (
                runs.lived_on(one.proxy, one.asked_ns, one.due_ns, one.boot)
            ):
                found.lost_with_proxy += 1
            else:
                found.unanswered += 1
                if len(found.unanswered_ids) < IDS_MAX:
                    found.unanswered_ids.append(one.id)

    def _is_open(self, one: _Missing) -> bool:
        """Return whether the request is not due yet."""
        if one.boot == self._boot:
            return one.due_ns > self._monotonic_ns
        return one.append_ns + one.due_ns - one.asked_ns > self._wall_ns


def _monotonic_times(joined: Joined, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.int64]]:
    """Return when requests had come in, by host, in order."""
    found: dict[str, list[int]] = {}
    for row in rows.tolist():
        request = joined.request(row)
        found.setdefault(request.host, []).append(request.monotonic_ns)
    return {host: np.sort(np.array(times, np.int64)) for host, times in found.items()}
