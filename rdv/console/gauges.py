"""What is now: processes, lags and sizes; and what the proxies count beside the log.

Status lines count since the start of their process; the sums here go on where a process has ended,
and are saved with the totals.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from rdv.decision.holder import shown_holder_of
from rdv.errors import RdvError
from rdv.live import ControlRecord
from rdv.rendezvous.topology import STATUS_TOPIC, STREAMS
from rdv.serve.proxy.shared_counts import NO_FIGURES, ProxyCounts, ProxyFigures
from rdv.status.lines import LastLines, ProcessState, StatusLine, on_this_clock, read_status
from rdv.stream import open_stream
from rdv.stream.files import FileStream, files_of
from rdv.system.boot import boot_id
from rdv.system.processes import is_process

EVERY_S = 5.0
"""How often sizes, lags and processes are looked at, in seconds."""

LOST = {
    "unwritten": "requests",
    "too_large": "too_large",
    "lost_answers": "answers",
    "lost_results": "results",
    "lost_scores": "scores",
}
"""Counters of status lines, and what was not logged (label `what`). The files of the proxies have
the first two as well: a full disk does not stop them."""

PROCESSES_MAX = 2_000
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class SavedCounts(msgspec.Struct):
    """Sums over processes that may have ended, and what each process has counted by now."""

    sums: dict[str, float] = {}
    last: dict[str, dict[str, float]] = {}


class GrowingCounts:
    """Sums of counters that begin again with each process. For one thread at a time."""

    def __init__(self, saved: SavedCounts | None = None) -> None:
        self._saved = saved or SavedCounts()

    @property
    def sums(self) -> dict[str, float]:
        return self._saved.sums

    def add(self, process: str, counts: dict[str, float]) -> None:
        """Take what a process has counted since its start."""
        saved = self._saved
        before = saved.last.pop(process, {})
        saved.last[process] = counts
        for name, count in counts.items():
            old = before.get(name, 0.0)
            grown = count - old if count >= old else count  # else it is another one, of equal name
            saved.sums[name] = saved.sums.get(name, 0.0) + grown
        while len(saved.last) > PROCESSES_MAX:
            del saved.last[next(iter(saved.last))]

    def saved(self) -> SavedCounts:
        return self._saved


class Gauges:
    """The present state of a decision. For one thread at a time."""

    def __init__(
        self, directory: str, lost: SavedCounts | None = None, cpu: SavedCounts | None = None
    ) -> None:
        self._directory = directory
        self._boot = boot_id().hex()
        self._lines = LastLines()
        self._streams: dict[str, FileStream] = {}
        self._next_s = 0.0
        self.lost = GrowingCounts(lost)
        """What was not logged, by LOST."""
        self.cpu = GrowingCounts(cpu)
        """Seconds of the processor, by role."""
        self._counts = ProxyCounts(directory)
        self.proxies: ProxyFigures = NO_FIGURES
        self.processes: list[ProcessState] = []
        self.by_role: dict[str, Counter[str]] = {}
        """By role: the sums of resident bytes, open files and threads, and processes."""
        self.lags: dict[str, int] = {}
        """By model: requests that it has not read yet."""
        self.sizes: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        """By stream: bytes on the disk, and records that were ever appended."""
        self.disk: dict[str, int] = {}
        """Free and all bytes of the disk of the decision's directory."""
        self.is_served = False

    def note(self, records: Iterable[ControlRecord]) -> None:
        """Take status lines."""
        now = time.time_ns(), time.monotonic_ns(), self._boot
        for record in records:
            if record.topic != STATUS_TOPIC:
                continue
            line = read_status(msgspec.json.encode(record.fields))
            if line is not None:
                self._lines.add(on_this_clock(line, *now))
                counts = {name: float(line.count(name)) for name in LOST}
                self.lost.add(f"{line.name}/{line.pid}", counts)

    def look(self) -> None:
        """Look at everything again, every EVERY_S; what cannot be read stays as it was."""
        self.proxies = self._counts.read(time.time_ns())
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + EVERY_S
        with contextlib.suppress(RdvError, OSError):
            self._look_at_streams()
        with contextlib.suppress(OSError):
            found = os.statvfs(self._directory)
            self.disk = {
                "free": found.f_bavail * found.f_frsize, "all": found.f_blocks * found.f_frsize,
            }  # fmt: skip
        self._look_at_processes()

    def _look_at_streams(self) -> None:
        for name in STREAMS:
            if name not in self._streams:
                with contextlib.suppress(RdvError):
                    path = os.path.join(self._directory, name)
                    self._streams[name] = files_of(open_stream(path, look=True))
        for name, stream in self._streams.items():
            places = [(t, n) for t in stream.topics() for n in range(stream.partitions(t))]
            self.sizes[name] = sum(stream.size_bytes(topic, number) for topic, number in places)
            self.ends[name] = sum(stream.end(topic, number) for topic, number in places)
        if (input_ := self._streams.get("input")) is not None:
            for group in input_.groups():
                with contextlib.suppress(RdvError):
                    self.lags[group] = sum(input_.lag(group).values())

    def _look_at_processes(self) -> None:
        holder = shown_holder_of(self._directory)
        self.is_served = holder is not None
        self.processes = self._lines.latest(time.monotonic_ns(), is_process)
        pids = {
            one.line.pid: one.line.role
            for one in self.processes
            if one.line.fields.get("boot") == self._boot and is_process(one.line.pid)
        }
        if holder is not None:
            pids[holder.pid] = "supervisor"
        pids[os.getpid()] = "console"
        self.by_role = {}
        for pid, role in pids.items():
            self._add_process(pid, role)

    def _add_process(self, pid: int, role: str) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
            cpu_s = (int(words[11]) + int(words[12])) / _TICKS
            self.cpu.add(f"{pid}/{int(words[19])}", {role: cpu_s})
            counts = self.by_role.setdefault(role, Counter())
            counts["threads"] += int(words[17])
            counts["bytes"] += int(words[21]) * _PAGE
            counts["processes"] += 1
            counts["files"] += len(os.listdir(f"/proc/{pid}/fd"))

    def states(self) -> Counter[tuple[str, ...]]:
        """Return how many processes there are by role and state."""
        return Counter((one.line.role, one.state) for one in self.processes)

    def versions(self) -> dict[str, str]:
        """Return the version that each model runs in."""
        return {
            line.model: str(line.fields.get("version") or "")
            for line in self._alive()
            if line.model
        }

    def troubles(self) -> dict[str, str]:
        """Return by process why its model cannot answer now."""
        return {line.name: line.trouble for line in self._alive() if line.trouble}

    def instances(self) -> Counter[tuple[str, ...]]:
        """Return how many workers of each model are ready."""
        ready = ("ready", "silent", "failing")
        return Counter(
            (one.line.model,) for one in self.processes if one.line.model and one.state in ready
        )

    def _alive(self) -> list[StatusLine]:
        return [one.line for one in self.processes if one.state not in ("stopped", "dead")]

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
