"""Decides how many instances of a model there should be. Pure: measurements and time are given.

It scales up quickly, and down slowly. Up when requests miss their window, or wait for more than a
second's work, in two measurements in a row; down by one when one less would have been enough for a
long time. Flapping is prevented by the gap between the two conditions, the long time, and the
memory of the load at which fewer were too few. (The asymmetry and the stabilisation window are
those of the Kubernetes horizontal autoscaler.) The measurements are the status lines of workers,
written about once a second, added up by model.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

from rdv.clock import Clock
from rdv.status.lines import SILENT_NS, StatusLine

UP_MEASUREMENTS = 2
"""This many measurements in a row must have seen misses: a single stutter is not load."""

MISSED_SHARE = 0.02
"""The share of requests that may miss their window; more are too many."""

QUEUE_MS = 1_000.0
"""More work than this waiting for an instance is too much, whatever the windows."""

BUSY_MIN = 0.3
"""A model that refuses most requests while it is less busy than this is too slow for its window,
which more instances cannot change.
"""

ROOM = 0.8
"""The share of the time that an instance is meant to be busy after scaling up."""

CALM = 0.6
"""The share of the time that the remaining instances may be busy after scaling down."""

EASIER = 0.7
"""Scaling down to a number that was too few before needs a load below this share of that load."""

REMEMBER_MS = 600_000.0
"""How long it is remembered that a number was too few, in ms."""

START_MS = 60_000.0
"""A model that was started by a request has this time to come up, until the next request."""

_SHORTS_MAX = 8


_SPAN_NS_MIN = 100_000_000
"""Lines closer than this give no rates: the later one is ignored, unless its state differs."""


@dataclass(frozen=True)
class Limits:
    """Holds the configuration of one model."""

    least: int
    most: int
    idle_ms: float = 60_000.0
    down_ms: float = 30_000.0
    batch_max: int = 64


class Measurement(NamedTuple):
    """Measures all instances of a model, at one moment; rates are of about the last second."""

    time_ms: float
    ready: int
    scored: float
    """Requests evaluated per second."""
    refused: float
    """Requests per second that could not be evaluated in time."""
    waiting: int
    """Requests that have come and are not reported yet."""
    row_ms: float
    fixed_ms: float
    """The cost of a batch: a fixed part, and one for each row."""
    status_ns: int
    """When the instances last wrote their status; the same lines count once."""

    @property
    def asked(self) -> float:
        """Return the requests per second."""
        return self.scored + self.refused


class Short(NamedTuple):
    """Records that `instances` were too few for `asked` requests per second."""

    instances: int
    asked: float
    time_ms: float


@dataclass(frozen=True)
class History:
    """Holds the state of one model. Times are on the supervisor's clock."""

    wanted: int
    changed_ms: float
    asked_ms: float
    """The time of the last request."""
    reason: str = ""
    """Why there are this many instances."""
    is_requested: bool = False
    """Whether a request has come while there is no instance."""
    last: Measurement | None = None
    missed: int = 0
    """The number of measurements in a row that saw misses."""
    calm_ms: float | None = None
    """Since when one instance less would have been enough."""
    shorts: tuple[Short, ...] = ()


class Verdict(NamedTuple):
    """Holds the wanted number of instances, and the reason."""

    wanted: int
    reason: str


def begun(count: int, now_ms: float) -> History:
    """Return the state of a model before any measurement."""
    return History(count, now_ms, now_ms, "at the start")


def with_request(history: History) -> History:
    """Record that a request has come that this model should score."""
    return history if history.is_requested else replace(history, is_requested=True)


def measured(history: History, look: Measurement, limits: Limits) -> History:
    """Add a measurement.

    Misses count only if this one and the one before saw all instances ready: a restarted instance
    finds requests that were due while it was gone.
    """
    last, wanted = history.last, history.wanted
    has_come_up = look.ready > 0 and (last is None or last.ready == 0)
    is_settled = last is not None and min(look.ready, last.ready) >= wanted > 0
    is_missing = is_settled and bool(_too_few(look, limits))
    is_new = last is None or look.status_ns != last.status_ns
    calm_ms = None
    if _is_calm(history, look, limits):
        calm_ms = look.time_ms if history.calm_ms is None else history.calm_ms
    return replace(
        history,
        last=look,
        asked_ms=look.time_ms if look.asked or look.waiting or has_come_up else history.asked_ms,
        missed=history.missed + is_new if is_missing else 0,
        calm_ms=calm_ms,
    )


def decide(history: History, limits: Limits, now_ms: float) -> Verdict:
    """Return how many there should be now; always within the limits."""
    wanted, last = history.wanted, history.last
    bounded = min(max(wanted, limits.least), limits.most)
    if bounded != wanted:
        return Verdict(bounded, f"between {limits.least} and {limits.most}, the range in rdv.toml")
    if wanted == 0:
        return Verdict(1, "it is asked for") if history.is_requested else Verdict(0, history.reason)
    if wanted > limits.least and now_ms - history.asked_ms >= _idle_ms(history, limits):
        seconds = (now_ms - history.asked_ms) / 1000
        why = "not asked" if last is not None and last.ready else "it has not come up"
        return Verdict(limits.least, f"{why} for {seconds:.0f} s")
    if history.missed >= UP_MEASUREMENTS and wanted < limits.most and last is not None:
        needed = ceil(_load(last, limits) / ROOM)
        count = min(max(wanted + 1, min(needed, 2 * wanted)), limits.most)
        return Verdict(count, _too_few(last, limits))
    if history.calm_ms is not None and now_ms - history.calm_ms >= limits.down_ms:
        seconds = (now_ms - history.calm_ms) / 1000
        return Verdict(wanted - 1, f"{wanted - 1} would have been enough for {seconds:.0f} s")
    return Verdict(wanted, history.reason)


def followed(history: History, verdict: Verdict, now_ms: float) -> History:
    """Return the state after the verdict has been followed."""
    if verdict.wanted == history.wanted:
        return history
    shorts = tuple(
        short
        for short in history.shorts
        if now_ms - short.time_ms < REMEMBER_MS and short.instances != history.wanted
    )
    if verdict.wanted > history.wanted > 0 and history.last is not None and history.missed:
        short = Short(history.wanted, history.last.asked, now_ms)
        shorts = (short, *shorts)[:_SHORTS_MAX]
    return History(verdict.wanted, now_ms, now_ms, verdict.reason, shorts=shorts)


def _load(look: Measurement, limits: Limits) -> float:
    """Return how many instances all requests would keep busy, in full batches."""
    return look.asked * (look.row_ms + look.fixed_ms / limits.batch_max) / 1000


def _too_few(look: Measurement, limits: Limits) -> str:
    """Return why more are needed; empty when they are not."""
    least_ms = look.row_ms + look.fixed_ms / limits.batch_max
    queue_ms = look.waiting * least_ms / max(1, look.ready)
    if queue_ms >= QUEUE_MS:
        return f"{look.waiting} requests wait, {queue_ms / 1000:.1f} s of work for each instance"
    if look.refused < 1 or look.refused < MISSED_SHARE * look.asked:
        return ""
    busy = look.scored * (look.row_ms + look.fixed_ms) / 1000 / max(1, look.ready)
    if look.refused > look.scored and busy < BUSY_MIN:
        return ""
    return f"{look.refused:.0f} of {look.asked:.0f} requests/s missed their window"


def _is_calm(history: History, look: Measurement, limits: Limits) -> bool:
    """Return whether one instance less would be enough."""
    fewer = history.wanted - 1
    if fewer < max(1, limits.least) or look.ready < fewer:
        return False
    if look.refused > MISSED_SHARE / 2 * look.asked:
        return False
    one_ms = look.row_ms + look.fixed_ms
    if look.waiting * one_ms > QUEUE_MS / 4 or look.asked * one_ms / 1000 > CALM * fewer:
        return False
    return not any(
        short.instances >= fewer
        and look.asked > EASIER * short.asked
        and look.time_ms - short.time_ms < REMEMBER_MS
        for short in history.shorts
    )


def _idle_ms(history: History, limits: Limits) -> float:
    has_come_up = history.last is not None and history.last.ready > 0
    return limits.idle_ms if has_come_up else max(limits.idle_ms, START_MS)


class _Meter(NamedTuple):
    """Holds the last line of a process, and the rates between that and the one before."""

    line: StatusLine
    scored: float = 0.0
    refused: float = 0.0


class Meters:
    """Measures the workers of all models. For one thread."""

    def __init__(self) -> None:
        self._by_pid: dict[int, _Meter] = {}

    def add(self, line: StatusLine) -> None:
        """Add a worker's line."""
        before = self._by_pid.get(line.pid)
        if before is None:
            self._by_pid[line.pid] = _Meter(line)
            return
        span_ns = line.time_ns - before.line.time_ns
        if span_ns < _SPAN_NS_MIN and line.state == before.line.state:
            return
        span_s = max(span_ns, _SPAN_NS_MIN) / 1e9
        scored, refused = (
            max(0, line.count(key) - before.line.count(key)) / span_s
            for key in ("scored", "refused")
        )
        self._by_pid[line.pid] = _Meter(line, scored, refused)

    def keep(self, pids: Container[int]) -> None:
        """Forget all processes but these."""
        self._by_pid = {pid: meter for pid, meter in self._by_pid.items() if pid in pids}

    def look(self, model: str, batch_max: int, clock: Clock) -> Measurement:
        """Return the sums over a model's processes, without those whose status line is overdue."""
        now_ns = clock.monotonic_ns()
        found = [m for m in self._by_pid.values() if m.line.model == model]
        ready = [
            m for m in found if m.line.state == "ready" and not _is_silent(m, batch_max, now_ns)
        ]
        return Measurement(
            clock.monotonic_ns() / 1e6,
            len(ready),
            sum(meter.scored for meter in ready),
            sum(meter.refused for meter in ready),
            sum(meter.line.count("waiting") for meter in ready),
            max((_ms(meter.line, "row_ms") for meter in ready), default=0.0),
            max((_ms(meter.line, "fixed_ms") for meter in ready), default=0.0),
            max((meter.line.time_ns for meter in ready), default=0),
        )


def _is_silent(meter: _Meter, batch_max: int, now_ns: int) -> bool:
    """Return whether its status is overdue: a worker writes none while it evaluates a batch."""
    line = meter.line
    batch_ms = _ms(line, "row_ms") * batch_max + _ms(line, "fixed_ms")
    return now_ns - line.time_ns > SILENT_NS + int(batch_ms * 1e6)


def _ms(line: StatusLine, key: str) -> float:
    value = line.fields.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
