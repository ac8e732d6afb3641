"""How many instances of a model there should be. Pure: what was seen, and the time, are given.

Quickly up, slowly down. Up when requests miss their window, or wait for more than a second's work,
in two looks one after the other; down by one when one less would have been enough for a long time.
What keeps it from flapping: the room between the two conditions, the long time, and the memory of
the load at which fewer were too few. (The asymmetry and the stabilisation window are those of the
Kubernetes horizontal autoscaler.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

UP_LOOKS = 2
"""So many looks in a row must have seen misses: one stutter is no load."""

MISSED_SHARE = 0.02
"""Of the requests; as many as this missing their window are too many."""

QUEUE_MS = 1_000.0
"""More work than this waiting for an instance is too much, whatever the windows."""

BUSY_MIN = 0.3
"""A model that refuses most requests while it is less busy than this is too slow for its window,
which no number of instances will change."""

ROOM = 0.8
"""Going up, an instance is meant to be busy for this share of the time."""

CALM = 0.6
"""Going down, those that stay would have been busy for no more than this."""

EASIER = 0.7
"""Down to a number that was too few before: only at this share of the load of that time."""

REMEMBER_MS = 600_000.0
"""For so long is it remembered that a number was too few."""

START_MS = 60_000.0
"""A model that was started by a request and does not come up is given up until the next one."""

_SHORTS_MAX = 8


@dataclass(frozen=True)
class Limits:
    """What the configuration says of one model."""

    least: int
    most: int
    idle_ms: float = 60_000.0
    down_ms: float = 30_000.0
    batch_max: int = 64


class Look(NamedTuple):
    """All instances of a model, at one moment; rates are those of the last second or so."""

    time_ms: float
    ready: int
    scored: float
    """Requests evaluated, a second."""
    refused: float
    """Requests that could not be evaluated in time, a second."""
    waiting: int
    """Requests that have come and are not reported on yet."""
    row_ms: float
    fixed_ms: float
    """What a batch costs: a fixed part, and one for each row."""
    told_ns: int
    """When the instances said so last: two looks at the same words are one."""

    @property
    def asked(self) -> float:
        """Requests a second."""
        return self.scored + self.refused


class Short(NamedTuple):
    """So many instances were too few for this many requests a second."""

    instances: int
    asked: float
    time_ms: float


@dataclass(frozen=True)
class History:
    """What is remembered of one model. Times on the supervisor's clock."""

    wanted: int
    changed_ms: float
    asked_ms: float
    """When it was last asked for anything."""
    reason: str = ""
    """Why there are as many as there are."""
    is_rung: bool = False
    """A request has come while there is no instance."""
    last: Look | None = None
    missed: int = 0
    """Looks in a row that saw misses."""
    calm_ms: float | None = None
    """Since when one less would have been enough."""
    shorts: tuple[Short, ...] = ()


class Verdict(NamedTuple):
    """How many there should be, and why."""

    wanted: int
    reason: str


def begun(count: int, now_ms: float) -> History:
    """Nothing is known yet."""
    return History(count, now_ms, now_ms, "at the start")


def rung(history: History) -> History:
    """A request has come that this model should score."""
    return history if history.is_rung else replace(history, is_rung=True)


def seen(history: History, look: Look, limits: Limits) -> History:
    """Another look. Only those count that saw all instances at work, and the one before as well:
    a restarted instance finds requests that were due while it was gone.
    """
    last, wanted = history.last, history.wanted
    has_come_up = look.ready > 0 and (last is None or last.ready == 0)
    is_settled = last is not None and min(look.ready, last.ready) >= wanted > 0
    is_missing = is_settled and bool(_too_few(look, limits))
    is_news = last is None or look.told_ns != last.told_ns
    calm_ms = None
    if _is_calm(history, look, limits):
        calm_ms = look.time_ms if history.calm_ms is None else history.calm_ms
    return replace(
        history,
        last=look,
        asked_ms=look.time_ms if look.asked or look.waiting or has_come_up else history.asked_ms,
        missed=history.missed + is_news if is_missing else 0,
        calm_ms=calm_ms,
    )


def decide(history: History, limits: Limits, now_ms: float) -> Verdict:
    """How many there should be now; always within the limits."""
    wanted, last = history.wanted, history.last
    bounded = min(max(wanted, limits.least), limits.most)
    if bounded != wanted:
        return Verdict(bounded, f"between {limits.least} and {limits.most}, as rdv.toml says")
    if wanted == 0:
        return Verdict(1, "it is asked for") if history.is_rung else Verdict(0, history.reason)
    if wanted > limits.least and now_ms - history.asked_ms >= _idle_ms(history, limits):
        seconds = (now_ms - history.asked_ms) / 1000
        why = "not asked" if last is not None and last.ready else "it has not come up"
        return Verdict(limits.least, f"{why} for {seconds:.0f} s")
    if history.missed >= UP_LOOKS and wanted < limits.most and last is not None:
        needed = ceil(_load(last, limits) / ROOM)
        count = min(max(wanted + 1, min(needed, 2 * wanted)), limits.most)
        return Verdict(count, _too_few(last, limits))
    if history.calm_ms is not None and now_ms - history.calm_ms >= limits.down_ms:
        seconds = (now_ms - history.calm_ms) / 1000
        return Verdict(wanted - 1, f"{wanted - 1} would have been enough for {seconds:.0f} s")
    return Verdict(wanted, history.reason)


def followed(history: History, verdict: Verdict, now_ms: float) -> History:
    """There are as many as the verdict says from now on."""
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


def _load(look: Look, limits: Limits) -> float:
    """How many instances all that is asked would keep busy, in full batches."""
    return look.asked * (look.row_ms + look.fixed_ms / limits.batch_max) / 1000


def _too_few(look: Look, limits: Limits) -> str:
    """What says that more are needed; empty when nothing does."""
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


def _is_calm(history: History, look: Look, limits: Limits) -> bool:
    """Whether one instance less would be enough."""
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
