"""Changes over time: of the models' answers, by the input or by the model, and of the request rate.

Answers are compared window by window with the same hours of past weeks, of which digests are kept
(`rdv.analysis.digests`); without them with the first quarter of the requests, and in a log of days
or weeks with the same hours of these (`statistics.drift`). Keys count, not requests. Requests are
counted in windows whose rates are compared with the beginning (`statistics.event_rate`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import Answers, Pairs
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.digests import NO_PAST, Past
from rdv.analysis.digests.past import PastColumn
from rdv.analysis.statistics import (
    DriftWindow,
    InvalidSample,
    RateAnomaly,
    drift_over_time,
    rate_anomalies,
    rate_reference,
)
from rdv.analysis.statistics.drift.timeline import COUNT_MIN, DAY_NS, HOUR_NS, WEEK_NS, Cause

ROWS_PER_WINDOW = 250
WINDOWS_MIN, WINDOWS_MAX = 4, 24
HITS_MIN = 2
"""The minimum number of windows that have moved, for whatever cause: a single one of many tests may
be chance, unless it is decisive.
"""
NUMBERS_MIN = 0.9
"""The minimum share of requests with a number for numbers to be used; else classes are."""
KNOWN_HOURS_MIN = 0.9
"""The least share of the requests whose hour must be known from the past for it to be used."""
SLOTS_MAX = 100_000
WINDOWS = 60
REFERENCE_WINDOWS_MIN = 5
FIRST_NS = 10**8

Floats = npt.NDArray[np.float64]
_MOVED: tuple[Cause, ...] = ("model changed", "input changed", "canary changed")


@dataclass(frozen=True)
class ModelDrift:
    """The drift of `model` and `peer` by window, against the first quarter of the requests.

    `peer` is the canary, or else (`is_canary` is false) the other model. `cause` sums up windows.
    """

    model: str
    peer: str
    is_canary: bool
    windows: tuple[DriftWindow, ...]
    cause: Cause
    sentence: str


@dataclass(frozen=True)
class Span:
    """Which requests are the reference, and with which of them a window is compared."""

    until_ns: int
    """The end of the reference, which begins with the first request; 0 if the past is it."""
    period_ns: int | None
    """A day or a week: windows are compared with the same hours of it; None: with all."""
    past_weeks: int = 0
    """How many weeks of digests are the reference; 0: requests of this period are."""

    @classmethod
    def of(cls, times_ns: npt.NDArray[np.int64], past: Past = NO_PAST) -> Span:
        """Take the past if it has these hours; else the first quarter of the requests, of days or
        weeks whole ones.

        Two weeks show what a weekday is like, two days what an hour is like.
        """
        first_ns = int(times_ns[0])
        for period_ns in (WEEK_NS, DAY_NS):
            slots = times_ns // HOUR_NS % (period_ns // HOUR_NS)
            if past.hours and np.isin(slots, past.slots(period_ns)).mean() >= KNOWN_HOURS_MIN:
                return cls(0, period_ns, past.weeks)
        span_ns = int(times_ns[-1]) - first_ns
        for period_ns in (WEEK_NS, DAY_NS):
            if span_ns >= 2 * period_ns:
                count = max(1, round(span_ns / 4 / period_ns))
                return cls(first_ns + count * period_ns, period_ns)
        return cls(int(times_ns[len(times_ns) // 4]), None)

    def sentence(self) -> str:
        """Return with what windows were compared, in words, if that limits what they show."""
        if self.period_ns == WEEK_NS:
            same = "compared with the same hour and weekday"
            if not self.past_weeks:
                return same
            return f"{same} of {self.past_weeks} past week{'s' if self.past_weeks > 1 else ''}"
        if self.period_ns == DAY_NS:
            return "compared with the same hour; there is no history of the same weekday"
        return "there is no history of the same hour: a daily cycle would look the same"


def drift_of(
    model: str, peer: str, times_ns: npt.NDArray[np.int64], values: Floats, peers: Floats,
    *, is_canary: bool, keys: Keys | None = None, span: Span | None = None,
    before: tuple[PastColumn, PastColumn] | None = None,
) -> ModelDrift:  # fmt: skip
    """Return the drift from columns of the same requests, in order of time; NaN for no value.

    `before` are the values of the model and of its peer in the past, if `span` says that the past
    is the reference.
    """
    count = len(times_ns)
    if count < WINDOWS_MIN * ROWS_PER_WINDOW:
        least = WINDOWS_MIN * ROWS_PER_WINDOW
        sentence = f"{count:,} requests are too few to detect drift: {least:,} are needed."
        return ModelDrift(model, peer, is_canary, (), "too few", sentence)
    span = Span.of(times_ns) if span is None else span
    try:
        found = _windows(times_ns, values, peers, keys, span, before if span.past_weeks else None)
    except InvalidSample as error:
        return ModelDrift(model, peer, is_canary, (), "too few", f"Drift is unknown: {error}.")
    later = [window for window in found if window.start_ns >= span.until_ns]
    cause = _cause(later)
    sentence = _sentence(model, peer, later, cause, span, is_canary=is_canary)
    return ModelDrift(model, peer, is_canary, tuple(found), cause, sentence)


def _windows(
    times_ns: npt.NDArray[np.int64],
    values: Floats,
    peers: Floats,
    keys: Keys | None,
    span: Span,
    before: tuple[PastColumn, PastColumn] | None,
) -> list[DriftWindow]:
    """Return as many windows as have enough keys for a finding, mostly. Raises InvalidSample."""
    first_ns, last_ns = int(times_ns[0]), int(times_ns[-1])
    asked = min(WINDOWS_MAX, len(times_ns) // ROWS_PER_WINDOW)
    while True:
        found = drift_over_time(
            times_ns,
            values,
            peers,
            reference_ns=(first_ns, span.until_ns),
            width_ns=max(1, -(-(last_ns - first_ns + 1) // asked)),
            keys=keys,
            period_ns=span.period_ns,
            before=before,
        )
        few = sum(window.verdict.cause == "too few" for window in found)
        if 2 * few <= len(found) or asked <= WINDOWS_MIN:
            return found
        asked = max(WINDOWS_MIN, asked // 2)


def drift_of_pairs(
    pairs: Pairs,
    names: tuple[str, str],
    canary: str | None,
    answers: Answers,
    past: Past = NO_PAST,
) -> list[ModelDrift]:
    """Return the drift of both models, or of the one that is not the canary.

    `answers` reads those of the past as it has read those of the pairs.
    """
    order = np.argsort(pairs.time_ns, kind="stable")
    times_ns = pairs.time_ns[order]
    numbers = np.isfinite(pairs.first).mean(), np.isfinite(pairs.second).mean()
    if answers.judged.reading.kind == "ranking" and min(numbers) < NUMBERS_MIN:
        return []  # lists are neither ordered nor few
    columns = {
        names[0]: (pairs.first[order], pairs.first_label[order]),
        names[1]: (pairs.second[order], pairs.second_label[order]),
    }
    if canary is not None and canary not in columns:
        columns[canary] = (pairs.canary[order], pairs.canary_label[order])
    values = {name: _values(*both) for name, both in columns.items()}
    span = Span.of(times_ns, past)
    before = {}
    if span.past_weeks:
        before = {
            name: answers.past(past, name, is_number=values[name] is both[0])
            for name, both in columns.items()
        }
        if any(len(one) < COUNT_MIN for one in before.values()):
            before, span = {}, Span.of(times_ns)
    found = []
    for model, other in ((names[0], names[1]), (names[1], names[0])):
        if model != canary:
            peer = canary or other
            found.append(
                drift_of(
                    model,
                    peer,
                    times_ns,
                    values[model],
                    values[peer],
                    is_canary=canary is not None,
                    keys=pairs.keys[order],
                    span=span,
                    before=(before[model], before[peer]) if before else None,
                )
            )
    return found


def _values(numbers: Floats, labels: Floats) -> Floats:
    return numbers if np.isfinite(numbers).mean() >= NUMBERS_MIN else labels


def _cause(windows: list[DriftWindow]) -> Cause:
    causes = [window.verdict.cause for window in windows]
    moved = Counter(cause for cause in causes if cause in _MOVED)
    most = max(moved.values(), default=0)
    is_sure = any(_is_decisive(window) for window in windows)
    if moved.total() >= HITS_MIN or is_sure:
        return next(cause for cause in reversed(causes) if moved[cause] == most)
    return "steady" if "steady" in causes else "too few"


def _is_decisive(window: DriftWindow) -> bool:
    return window.verdict.cause in _MOVED and any(
        one is not None and one.is_decisive for one in (window.model, window.canary)
    )


def _sentence(
    model: str, peer: str, windows: list[DriftWindow], cause: Cause, span: Span, *, is_canary: bool
) -> str:
    if cause == "too few":
        return f"{model}: too few keys with scores in each window to detect drift."
    if cause == "steady":
        return f"{model}: no drift; neither its answers nor those of {peer} have changed."
    hit = [window for window in windows if window.verdict.cause == cause]
    since = datetime.fromtimestamp(hit[0].start_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    when = f"since {since}, in {len(hit)} of {len(windows)} windows"
    if is_canary:
        finding = {
            "input changed": (
                f"the input changed: its answers and those of the canary {peer} have changed"
            ),
            "model changed": (
                f"the model changed: its answers have, those of the canary {peer} have not"
            ),
            "canary changed": f"only the answers of the canary {peer} have changed",
        }[cause]
    else:
        finding = {
            "input changed": (
                f"its answers and those of {peer} have changed: most likely the input has"
            ),
            "model changed": (
                f"its answers have changed, those of {peer} have not: the model, or an input that "
                "only it uses (a canary would decide that)"
            ),
            "canary changed": f"only the answers of {peer} have changed",
        }[cause]
    return f"{model}: {finding}, {when} ({span.sentence()})."


@dataclass(frozen=True)
class Rates:
    """Requests in windows of `width_ns`; the first `reference` windows define what is usual.

    The first and the last interval, which are not whole, are left out. `anomalies` count windows
    from 0; None if the time is too short.
    """

    width_ns: int
    start_ns: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    reference: int
    expected: float | None
    anomalies: list[RateAnomaly] | None

    @property
    def per_second(self) -> npt.NDArray[np.float64]:
        rate: npt.NDArray[np.float64] = self.counts / (self.width_ns / 1e9)
        return rate

    def sentence(self) -> str:
        """Return a sentence about the rate."""
        if self.anomalies is None:
            return "Request rate: too short a time to compare it with the beginning."
        if not self.anomalies:
            return "Request rate: as at the beginning."
        many = sum(one.score > 0 for one in self.anomalies)
        worst = max(self.anomalies, key=lambda one: abs(one.score))
        return (
            f"Request rate: {len(self.anomalies)} of {len(self.counts)} windows of "
            f"{self.width_ns / 1e9:g} s differ from the beginning: {many} with more requests, "
            f"{len(self.anomalies) - many} with fewer; one has {worst.count:,} where "
            f"{worst.expected:,.0f} were expected."
        )


class RateCounter:
    """Counts requests in slots that widen as time goes on, so that their number is bounded."""

    def __init__(self) -> None:
        self._width_ns = FIRST_NS
        self._slots: Counter[int] = Counter()

    def add(self, times_ns: npt.NDArray[np.int64]) -> None:
        slots, counts = np.unique(times_ns // self._width_ns, return_counts=True)
        self._slots.update(dict(zip(slots.tolist(), counts.tolist(), strict=True)))
        while len(self._slots) > SLOTS_MAX:
            self._width_ns *= 2
            wider: Counter[int] = Counter()
            for slot, count in self._slots.items():
                wider[slot // 2] += count
            self._slots = wider

    def rates(self) -> Rates:
        """Return about `WINDOWS` windows, each of the same whole number of slots."""
        if not self._slots:
            return _nothing(self._width_ns)
        first, last = min(self._slots), max(self._slots)
        wide = max(1, (last - first + 1) // WINDOWS)
        count = (last - first - 1) // wide
        if count < 4 * REFERENCE_WINDOWS_MIN:
            return _nothing(self._width_ns)
        counts = np.zeros(count, np.int64)
        for slot, requests in self._slots.items():
            at = (slot - first - 1) // wide
            if slot > first and at < count:
                counts[at] += requests
        reference = max(REFERENCE_WINDOWS_MIN, count // 4)
        usual = rate_reference(counts[:reference])
        start_ns = (first + 1 + wide * np.arange(count, dtype=np.int64)) * self._width_ns
        found = rate_anomalies(counts, usual) if usual.events else None
        return Rates(self._width_ns * wide, start_ns, counts, reference, usual.rate, found)


def _nothing(width_ns: int) -> Rates:
    empty = np.empty(0, np.int64)
    return Rates(width_ns, empty, empty, 0, None, None)
