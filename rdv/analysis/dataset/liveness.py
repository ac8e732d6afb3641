"""What `control` records of processes: which models were up, which proxies kept running.

With it, the calibration of arrivals: a result records the arrivals known to it; for a later score
there is only the wall time of its append. For scores that have both, the arrival minus (the append
of the score minus the request's wall time) is nearly constant: the time between the readings of
both clocks in the proxy, and from the append to the server's read. Its median is added for the
other scores; its spread is their error. Other hosts' clocks get constants of their own.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import NEVER_US, Coded
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.topology import CONTROL, MODELS_TOPIC, STATUS_TOPIC

_T = TypeVar("_T")
STATUS_RUNS_MAX = 100_000
BOOT_DIGITS = 8
"""How many digits a request's host has of a boot's id (`rdv.serve.process`)."""
NEVER_NS = 2**63 - 1


class _News(msgspec.Struct):
    model: str
    state: str
    boot: str = ""
    monotonic_ns: int = 0


class _Status(msgspec.Struct):
    role: str
    name: str
    pid: int
    state: str
    boot: str = ""
    monotonic_ns: int = 0


@dataclass
class ModelNews:
    """The supervisor's reports on models, by append time and by monotonic time.

    The reports are in the order of the log; monotonic times are those of the boot in which they
    were written, and no step of a wall clock changes them.
    """

    times_ns: list[int] = field(default_factory=list)
    _dead: list[frozenset[str]] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    _by_boot: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    """For each boot: monotonic times, and the numbers of the reports that they belong to."""

    def add(
        self, time_ns: int, model: str, *, is_up: bool, boot: str = "", monotonic_ns: int = 0
    ) -> None:
        if boot:
            times_ns, numbers = self._by_boot.setdefault(boot[:BOOT_DIGITS], ([], []))
            times_ns.append(max(monotonic_ns, times_ns[-1] if times_ns else 0))
            numbers.append(len(self.times_ns))
        self.models.add(model)
        dead = self._dead[-1] if self._dead else frozenset[str]()
        self.times_ns.append(time_ns)
        self._dead.append(dead - {model} if is_up else dead | {model})

    def dead_at(self, time_ns: int) -> frozenset[str]:
        """Return the models whose last report by `time_ns` was that they are down."""
        at = bisect_right(self.times_ns, time_ns)
        return self._dead[at - 1] if at else frozenset()

    def dead_while(
        self, host: str, monotonic_ns: int, append_ns: int, span_ns: int
    ) -> list[frozenset[str]]:
        """Return what `dead_between` does for `span_ns` from the start of a request of this host.

        Goes by append time if nothing is known of its boot.
        """
        times_ns, numbers = self._by_boot.get(host.rpartition("/")[2], ([], []))
        if not times_ns:
            return self.dead_between(append_ns, append_ns + span_ns)
        first, last = (bisect_right(times_ns, monotonic_ns + after) for after in (0, span_ns))
        before = numbers[first - 1] if first else numbers[0] - 1
        known = [before, *numbers[first:last]]
        return list(dict.fromkeys(self._dead[n] if n >= 0 else frozenset[str]() for n in known))

    def dead_between(self, start_ns: int, end_ns: int) -> list[frozenset[str]]:
        """Return the dead models at `start_ns` and after each report to `end_ns`, each set once."""
        first, last = (bisect_right(self.times_ns, at) for at in (start_ns, end_ns))
        return list(dict.fromkeys([self.dead_at(start_ns), *self._dead[first:last]]))


@dataclass
class ProxyRuns:
    """Every run of a proxy, from its first to its last status line.

    Times are on the monotonic clock of its boot (the first digits of its id), or append times (boot
    "") if none is recorded.
    """

    _seen: dict[tuple[str, str, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, time_ns: int, name: str, pid: int, boot: str = "") -> None:
        run = boot, name, pid
        if len(self._seen) < STATUS_RUNS_MAX or run in self._seen:
            first, _ = self._seen.get(run, (time_ns, 0))
            self._seen[run] = first, time_ns

    def knows(self, boot: str) -> bool:
        """Return whether anything was reported in that boot."""
        return any(known == boot for known, _, _ in self._seen)

    def _of(self, name: str, boot: str) -> list[tuple[int, int]]:
        return [run for (when, who, _), run in self._seen.items() if (when, who) == (boot, name)]

    def lived_on(self, name: str, asked_ns: int, due_ns: int, boot: str = "") -> bool:
        """Return whether the proxy's run that took a request still reported when it was due."""
        began = [run for run in self._of(name, boot) if run[0] <= asked_ns]
        return bool(began) and max(began)[1] >= due_ns

    def next_began_ns(self, name: str, asked_ns: int, boot: str = "") -> int:
        """Return the first report of the proxy's next run after `asked_ns`, else NEVER_NS."""
        begins = [first for first, _ in self._of(name, boot)]
        return min((first for first in begins if first > asked_ns), default=NEVER_NS)


def read_model_news(recorded: Recorded, notes: Notes) -> ModelNews:
    """Read the reports on models. Raises the log's SystemFaults."""
    news = ModelNews()
    for time_ns, event in _events(recorded, MODELS_TOPIC, _News, notes):
        if event.state in ("up", "down"):
            is_up, boot = event.state == "up", event.boot
            news.add(time_ns, event.model, is_up=is_up, boot=boot, monotonic_ns=event.monotonic_ns)
    return news


def read_proxy_runs(recorded: Recorded, notes: Notes) -> ProxyRuns:
    """Read the runs of proxies. Raises the log's SystemFaults."""
    runs = ProxyRuns()
    for time_ns, event in _events(recorded, STATUS_TOPIC, _Status, notes):
        if event.role == "proxy" and event.boot:
            runs.add(event.monotonic_ns, event.name, event.pid, event.boot[:BOOT_DIGITS])
        elif event.role == "proxy":
            runs.add(time_ns, event.name, event.pid)
    return runs


def _events(
    recorded: Recorded, topic: str, kind: type[_T], notes: Notes
) -> Iterator[tuple[int, _T]]:
    """Yield append times and events; records of another kind are skipped."""
    decoder = msgspec.json.Decoder(kind)
    for source in sources(recorded.stream(CONTROL), [topic]):
        for chunk in source.chunks(source.begin, source.end, notes):
            for row, time_ns in enumerate(chunk.times_ns.tolist()):
                event = None
                with contextlib.suppress(msgspec.DecodeError, RecursionError):
                    event = decoder.decode(chunk.line(row))
                if event is not None:
                    yield time_ns, event


PAIRS_MIN = 20
"""The minimum number of pairs of a host; with fewer, those of all hosts are used."""


class Calibration:
    """Learns from one batch after another. For one thread at a time."""

    def __init__(self) -> None:
        self._offset_us: dict[str, float] = {}
        self._common_us = 0.0
        self.error_ms: float | None = None
        """An error in ms that 95 % of the arrivals that can be checked do not exceed."""

    def learn(
        self,
        hosts: Coded,
        exact_us: npt.NDArray[np.int64],
        since_us: npt.NDArray[np.int64],
    ) -> None:
        """Learn from exact arrivals, and from when (since the request) each score was appended."""
        if not len(exact_us):
            return
        off = (exact_us - since_us).astype(np.float64)
        self._common_us = float(np.median(off))
        for code, name in enumerate(hosts.names):
            of_host = off[hosts.codes == code]
            if len(of_host) >= PAIRS_MIN:
                self._offset_us[name] = float(np.median(of_host))
        self.error_ms = float(np.quantile(np.abs(off - self._offsets(hosts)), 0.95)) / 1000

    def arrivals_us(
        self,
        hosts: Coded,
        since_us: npt.NDArray[np.int64],
        least_us: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Return arrivals of scores appended `since_us` after their request, from `least_us` on."""
        estimate: npt.NDArray[Any] = since_us + self._offsets(hosts)
        bounded = np.clip(np.maximum(estimate, least_us), 0, NEVER_US - 1)
        return np.asarray(bounded, np.int64)

    def _offsets(self, hosts: Coded) -> npt.NDArray[np.float64]:
        of_name = [self._offset_us.get(name, self._common_us) for name in hosts.names]
        return np.array(of_name)[hosts.codes]
