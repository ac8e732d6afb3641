"""The observer reads the current state of a decision from its streams."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self

from rdv.coded import Coded
from rdv.decision import Decision, load_decision
from rdv.decision.accepted import read_published
from rdv.decision.events import EventReader
from rdv.decision.holder import Holder, holder_of
from rdv.decision.registry import registry_rows
from rdv.decision.restarts import WINDOW_NS, Restarts
from rdv.decision.schedules import ScheduleSlas
from rdv.errors import InputFault, RdvError
from rdv.http.authority import host_port
from rdv.rendezvous.messages import MalformedMessage, decode_result
from rdv.rendezvous.topology import SCALING_TOPIC, STATUS_TOPIC, proxy_name
from rdv.serve.supervisor.plan import parts
from rdv.status.lines import (
    LastLines,
    ProcessState,
    ScaleLine,
    on_this_clock,
    read_scaling,
    read_status,
)
from rdv.status.models import model_rows, process_rows, unlogged, unread
from rdv.status.trend import STEP_S, STEPS, Trend
from rdv.status.window import OffRecord, ResultWindow
from rdv.stream import AHEAD_MAX_NS, Consumer, Recent, Record, Stream, open_stream, pass_over
from rdv.stream.errors import (
    NotPermitted,
    OffsetOutOfRange,
    RecordsDamaged,
    RecordsLost,
    StreamNotFound,
)
from rdv.system.boot import boot_id
from rdv.system.processes import is_process

_BACK = Recent(5 * 60_000)
"""How far back to look for the latest status of processes."""
_POLL_RECORDS = 10_000


class NeverServed(InputFault):
    """The decision has no streams yet."""

    directory: str

    _text = "{directory} has never been served: there is nothing to show"
    _hint = "Start it: rdv serve {directory}"


class Observer:
    """Reads what is new at each call. Raises NeverServed, and RdvErrors of the configuration."""

    def __init__(
        self, decision: Decision, window_s: float = 10.0, *, has_trend: bool = False
    ) -> None:
        """Open the streams; with `has_trend` the figures of the last minutes are kept as well."""
        self._directory = decision.directory
        self._decision = decision
        self._slas = ScheduleSlas(decision)
        self._lines = LastLines()
        self._boot = boot_id().hex()
        self._window = ResultWindow(window_s)
        self._off_record = OffRecord(window_s)
        self._streams = [self._open(name) for name in ("control", "results", "input")]
        control, results, self._input = self._streams
        self._control = control.consumer([STATUS_TOPIC], start=_BACK)
        self._scaling = control.consumer([SCALING_TOPIC])
        self._scaled: dict[str, ScaleLine] = {}
        back_s = max(window_s, STEPS * STEP_S) if has_trend else window_s
        self._results = results.consumer(start=Recent(int(back_s * 1e3)))
        self._trend = Trend() if has_trend else None
        self._restarts = Restarts()
        self._events = EventReader(decision.directory, time.time_ns() - WINDOW_NS)
        self._states: dict[str, tuple[str, str]] = {}
        """By process, its state and its trouble."""

    def _open(self, name: str) -> Stream:
        try:
            return open_stream(self._decision.stream_path(name), look=True)
        except StreamNotFound:
            raise NeverServed(self._directory) from None

    def wait(self, timeout_s: float) -> bool:
        """Wait until processes have reported something, for `timeout_s` at most.

        Returns whether the state of a process is another one than before.
        """
        return self._hear(_poll(self._control, timeout_s))

    def look(self) -> dict[str, Any]:
        """Return the whole state as one object."""
        with contextlib.suppress(RdvError):
            # The decision in force; the current file for one that is not served.
            self._decision = decision_in_force(self._directory)
        while records := _poll(self._control):
            self._hear(records)
        while records := _poll(self._scaling):
            for record in records:
                if (line := read_scaling(record.value)) is not None:
                    self._scaled[line.model] = line
        self._read_results()
        while events := self._events.next():
            for event in events:
                self._restarts.add(event)
        holder, reason, code = None, "", ""
        try:
            holder = holder_of(self._directory)
        except NotPermitted as error:
            reason, code = error.text(), error.code()
        report = self._report(time.time_ns(), time.monotonic_ns(), holder)
        return report | {
            "served_by_unknown": reason or None,
            "served_by_unknown_code": code or None,
        }

    def _read_results(self) -> None:
        while records := _poll(self._results):
            for record in records:
                with contextlib.suppress(MalformedMessage):
                    # Kept by the monotonic clock, so that steps of the wall clock do not matter.
                    ago_ns = time.time_ns() - record.timestamp_ns
                    if ago_ns > -AHEAD_MAX_NS:  # else the record's clock was wrong
                        read_ns = time.monotonic_ns() - max(0, ago_ns)
                        result = decode_result(record.value)
                        self._window.add(read_ns, result)
                        if self._trend is not None:
                            self._trend.add(read_ns, result, self._slas.find_ms)

    def _hear(self, records: Iterable[Record]) -> bool:
        is_other = False
        for record in records:
            line = read_status(record.value)
            if line is not None:
                now = time.time_ns(), time.monotonic_ns(), self._boot
                line = on_this_clock(line, *now)
                self._lines.add(line)
                self._off_record.add(line)
                state = line.state, line.trouble
                is_other |= self._states.get(line.name, state) != state
                self._states[line.name] = state
        return is_other

    def _report(self, now_ns: int, monotonic_ns: int, holder: Holder | None) -> dict[str, Any]:
        seen = self._lines.latest(monotonic_ns, is_process)
        if holder is None:  # what waits for an edit waits no longer
            seen = [one for one in seen if one.state != "waiting"]
        running_s = None if holder is None else holder.running_s(now_ns, monotonic_ns)
        off_record = self._off_record.count(monotonic_ns)
        results = self._window.figures(monotonic_ns, self._slas.find_ms, running_s, off_record)
        declared = [name for name, model in self._decision.models.items() if not model.retired]
        scaling = {} if holder is None else self._scaling_of(holder)
        counts = {name: line.instances for name, line in scaling.items()}
        expected = [] if holder is None else _expected(self._decision, holder, counts)
        faults, pending = ((), ()) if holder is None else _edits(self._directory)
        trend = None if self._trend is None else self._trend.figures(monotonic_ns)
        return {
            "decision": self._decision.name,
            "directory": self._directory,
            "schedule": self._decision.schedule,
            "served_by": None if holder is None else holder.pid,
            "running_s": None if running_s is None else round(running_s, 3),
            "addresses": []
            if holder is None
            else [host_port(holder.host, p) for p in holder.ports],
            "not_in_force": [fault.text for fault in faults],
            "not_in_force_codes": [fault.code for fault in faults],
            "not_in_force_about": [fault.about for fault in faults],
            "at_next_start": list(pending),
            "results": results,
            **({} if trend is None else {"trend": trend}),
            "why": [] if holder is None else self._restarts.sentences(now_ns),
            "models": model_rows(declared, seen, self._lags(), results["models"], scaling),
            "registry": registry_rows(self._decision),
            "proxies": _totals(seen),
            "unlogged": unlogged(seen),
            "unread": unread(seen),
            "processes": process_rows(expected, seen),
        }

    def _scaling_of(self, holder: Holder) -> dict[str, ScaleLine]:
        """Return the latest lines of this supervisor on models that still scale."""
        models = self._decision.models
        return {
            name: line
            for name, line in self._scaled.items()
            if _is_by(line, holder) and name in models and models[name].scales
        }

    def _lags(self) -> dict[str, int]:
        """Return the consumer lag of each model's group, in requests."""
        lags: dict[str, int] = {}
        for group in self._input.groups():
            with contextlib.suppress(RdvError):
                lags[group] = sum(self._input.lag(group).values())
        return lags

    def close(self) -> None:
        self._control.close()
        self._scaling.close()
        self._results.close()
        self._events.close()
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decision_in_force(directory: str) -> Decision:
    """Return the decision as it is served, even if its files have changed; else as the files say.

    Raises RdvErrors of the configuration.
    """
    with contextlib.suppress(RdvError):
        if holder_of(directory) is not None:
            return read_published(directory).decision
    return load_decision(directory)


def _edits(directory: str) -> tuple[tuple[Coded, ...], tuple[str, ...]]:
    """Return faults of edits that are not in force, and keys that take effect at the next start."""
    try:
        accepted = read_published(directory)
    except RdvError:  # --direct, --in-process, or an older rdv
        return (), ()
    return accepted.faults, accepted.pending


def _expected(decision: Decision, holder: Holder, counts: Mapping[str, int]) -> list[str]:
    """Return the processes that should run; the proxies are the holder's, not the file's."""
    inner = [part.name for part in parts(decision, {}, counts) if part.role != "proxy"]
    return [*inner, *(proxy_name(port) for port in (*holder.ports, holder.grpc_port) if port)]


def _poll(consumer: Consumer, timeout_s: float = 0.0) -> list[Record]:
    """Poll a consumer, and skip what cannot be read: `rdv stream verify` reports that."""
    for _ in range(1000):
        try:
            return consumer.poll(_POLL_RECORDS, timeout_s)
        except (RecordsLost, RecordsDamaged, OffsetOutOfRange) as error:
            if not pass_over(consumer, error):
                break
    return []


def _is_by(line: ScaleLine, holder: Holder) -> bool:
    """Return whether this supervisor has written the line, not an earlier one."""
    return line.pid == holder.pid if line.pid else line.time_ns >= holder.started_ns


def _totals(seen: Iterable[ProcessState]) -> dict[str, int]:
    """Return the sums of what the running proxies have counted since they started."""
    keys = ("requests", "refused", "backstop", "misses", "unlogged", "in_flight", "connections")
    states = ("ready", "failing", "silent")
    proxies = [s.line for s in seen if s.line.role == "proxy" and s.state in states]
    return {key: sum(line.count(key) for line in proxies) for key in keys}


def known_models(decision: Decision) -> list[str]:
    """Return the models that rdv.toml declares, and those that run undeclared (`rdv model run`)."""
    known = decision.scoring_models()
    with contextlib.suppress(NeverServed), Observer(decision, window_s=0.001) as observer:
        known += [row["model"] for row in observer.look()["models"] if not row["declared"]]
    return known
