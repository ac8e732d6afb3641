"""Reads the status lines of processes, in `control:status`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

SILENT_NS = 3_000_000_000
"""A process that has not written for this long is stopped, hangs, or is gone."""

State = Literal[
    "starting", "ready", "failing", "stopped", "silent", "restarting", "waiting", "dead"
]
"""failing: it runs, but keeps ending, or its model's command does; restarting: the same, and at
this moment it does not run; waiting: its model cannot be loaded until its file changes.
"""

GONE: frozenset[State] = frozenset(("stopped", "waiting", "dead"))
"""The states of a process that has ended and that is not being started again."""

NOT_LOADED = "not loaded"
"""The state in the last line of a worker whose model could not be loaded."""

KEEPS_ENDING_NS = 60_000_000_000
"""A process that has ended more than once in this time keeps ending."""

RESTART_NS = 15_000_000_000
"""A supervisor restarts a process within this time; one that is gone for longer stays gone."""


PROCESSES_MAX = 1_000
"""The maximum number of processes kept: a model that fails to start makes many of them."""


class StatusLine(msgspec.Struct, frozen=True):
    """Holds one line. `fields` holds all fields, including those that differ by role."""

    role: str
    name: str
    pid: int
    state: str
    time_ns: int
    """Wall time of the writer; after `on_this_clock`, this host's monotonic time."""
    fields: Mapping[str, Any]

    @property
    def trouble(self) -> str:
        """Return why its model cannot answer now; usually empty."""
        return str(self.fields.get("trouble") or "")

    @property
    def trouble_code(self) -> str:
        """Return the code of `trouble`; usually empty, always so in lines of rdv 0.2.0."""
        return str(self.fields.get("trouble_code") or "")

    @property
    def model(self) -> str:
        """Return the model of a worker; empty for servers and proxies."""
        return str(self.fields.get("model", ""))

    def count(self, key: str) -> int:
        """Return a counter of the line; 0 when it has none."""
        value = self.fields.get(key, 0)
        return value if isinstance(value, int) else 0


def read_status(value: bytes) -> StatusLine | None:
    """Return a line, or None for an invalid one, which is ignored."""
    try:
        fields = msgspec.json.decode(value, type=dict[str, Any])
        return msgspec.convert(fields | {"fields": fields}, StatusLine)
    except (msgspec.DecodeError, RecursionError):
        return None


def on_this_clock(line: StatusLine, wall_ns: int, monotonic_ns: int, boot: str) -> StatusLine:
    """Return the line with its time on the monotonic clock of this host and `boot` (hex).

    So a step of a wall clock does not make a process look silent, or younger than it is. For a line
    of another host, only the wall time is known.
    """
    fields = line.fields
    written_ns = fields.get("monotonic_ns")
    if fields.get("boot") != boot or not isinstance(written_ns, int):
        written_ns = monotonic_ns - max(0, wall_ns - line.time_ns)
    return msgspec.structs.replace(line, time_ns=written_ns)


class ModelState(msgspec.Struct):
    """Describes a line of `control:models`: whether a model is up, by the supervisor."""

    model: str
    state: Literal["up", "down"]


decode_model_state = msgspec.json.Decoder(ModelState).decode
"""Raises msgspec.DecodeError."""


class ScaleLine(msgspec.Struct, frozen=True):
    """Describes a line of `control:scaling`: the wanted number of instances since `time_ns`."""

    model: str
    instances: int
    least: int
    most: int
    reason: str
    time_ns: int
    pid: int = 0
    """The pid of the supervisor."""


def read_scaling(value: bytes) -> ScaleLine | None:
    """Return a line, or None for an invalid one."""
    try:
        return msgspec.json.decode(value, type=ScaleLine)
    except (msgspec.DecodeError, RecursionError):
        return None


class ProcessState(NamedTuple):
    """Describes a process, by its last line and a check of its pid."""

    line: StatusLine
    state: State
    age_s: float


class LastLines:
    """Keeps the last line of every process."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], StatusLine] = {}

    def add(self, line: StatusLine) -> None:
        # Moved to the end, so that the latest ones stay.
        self._last.pop((line.name, line.pid), None)
        self._last[line.name, line.pid] = line
        if len(self._last) > PROCESSES_MAX:
            del self._last[next(iter(self._last))]

    def lines(self) -> Iterable[StatusLine]:
        return self._last.values()

    def latest(self, now_ns: int, is_process: Callable[[int], bool]) -> list[ProcessState]:
        """Return one entry per name; two when both live, as while one replaces the other.

        `now_ns` is on the clock of the lines' times: monotonic, after `on_this_clock`.
        """
        by_name: dict[str, list[ProcessState]] = {}
        ends: Counter[str] = Counter()
        for line in self._last.values():  # in the order of the log
            seen = judge(line, now_ns, is_process)
            ends[line.name] += seen.state == "dead" and now_ns - line.time_ns <= KEEPS_ENDING_NS
            before = [s for s in by_name.get(line.name, ()) if s.state not in GONE]
            # A later line of a process that is gone does not hide one that is alive.
            if seen.state in GONE and before:
                continue
            by_name[line.name] = [*before, seen]
        refused = {
            s.name: s for s in sorted(self._last.values(), key=_time_ns) if s.state == NOT_LOADED
        }
        # A successor that does not start is not an end of the running process.
        unlike = Counter(line.name for line in self._last.values() if line.state == NOT_LOADED)
        return [
            with_refusal(
                with_history(s, ends[name] - (unlike[name] if s.state == "ready" else 0)),
                refused.get(name),
            )
            for name, group in by_name.items()
            for s in group
        ]


def judge(line: StatusLine, now_ns: int, is_process: Callable[[int], bool]) -> ProcessState:
    """Return the present state of the process that wrote the line."""
    age_ns = max(0, now_ns - line.time_ns)
    state: State
    if line.state == "stopped":
        state = "stopped"
    elif line.state == NOT_LOADED and line.fields.get("waits_for"):
        state = "waiting"
    elif not is_process(line.pid):
        state = "dead"
    elif line.state == "starting":
        state = "starting"
    else:
        state = "silent" if age_ns > SILENT_NS else "ready"
    return ProcessState(line, state, age_ns / 1e9)


def with_history(seen: ProcessState, ends: int) -> ProcessState:
    """Return `seen` with the state failing or restarting if it has trouble or ended too often.

    `ends` counts the recent unplanned ends of all processes of its name.
    """
    if seen.state == "ready" and (seen.line.trouble or ends > 1):
        return seen._replace(state="failing")
    is_young = seen.age_s * 1e9 <= RESTART_NS
    if (seen.state == "starting" and ends) or (seen.state == "dead" and ends > 1 and is_young):
        return seen._replace(state="restarting")
    return seen


def with_refusal(seen: ProcessState, refused: StatusLine | None) -> ProcessState:
    """Return `seen`; if it goes on because its successor did not start, its trouble says so."""
    ran_ns = seen.line.count("ran_ns")
    if refused is None or not ran_ns or refused.time_ns < seen.line.time_ns - ran_ns:
        return seen
    if seen.state not in ("ready", "failing") or seen.line.pid == refused.pid:
        return seen
    version = seen.line.fields.get("version") or "the old version"
    trouble = f"running {version}; the new one {refused.trouble}"
    told = {"trouble": trouble, "trouble_code": "successor_not_ready"}
    fields = {**seen.line.fields, **told}
    return seen._replace(line=replace(seen.line, fields=fields))


def waits(line: StatusLine) -> str:
    """Return what a model that cannot be loaded waits for, and why, in one sentence."""
    reason = line.trouble.removeprefix("did not start: ")
    return f"waits for a change of {line.fields.get('waits_for')}: {reason}"


def _time_ns(line: StatusLine) -> int:
    return line.time_ns


def lives_elsewhere(
    lines: Iterable[StatusLine],
    model: str,
    own_pids: Iterable[int],
    now_ns: int,
    is_process: Callable[[int], bool],
) -> bool:
    """Return whether a worker of the model runs that is not in `own_pids` (`rdv model run`)."""
    own = set(own_pids)
    return any(
        line.model == model
        and line.pid not in own
        and line.state == "ready"
        and now_ns - line.time_ns <= SILENT_NS
        and is_process(line.pid)
        for line in lines
    )
