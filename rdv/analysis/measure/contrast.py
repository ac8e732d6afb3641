"""Two sides by one metric, on the same requests: both values, and the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.charts.format import number, signed
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.measure.measure import Floats, Measure, requests_per_day
from rdv.analysis.metrics import Metric, TooFew, Undefined, difference, estimate, metric_named
from rdv.analysis.statistics import Interval, InvalidSample

Found = Interval | TooFew | Undefined


@dataclass
class Rate:
    """How many requests came between which times, for the value of a day."""

    requests: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, times_ns: npt.NDArray[np.int64]) -> None:
        """Add requests, in any order."""
        if not len(times_ns):
            return
        low, high = int(times_ns.min()), int(times_ns.max())
        self.requests += len(times_ns)
        self.first_ns = low if self.first_ns is None else min(self.first_ns, low)
        self.last_ns = high if self.last_ns is None else max(self.last_ns, high)

    @property
    def per_day(self) -> float | None:
        """Requests a day, at this rate; None with too few requests."""
        if self.first_ns is None:
            return None
        return requests_per_day(self.requests, self.first_ns, self.last_ns)


@dataclass(frozen=True)
class Contrast:
    """What a metric says of two sides; `difference` is the first's minus the second's.

    A side is an Interval, or says why there is none: TooFew has the value, Undefined has not.
    """

    metric: Metric
    names: tuple[str, str]
    requests: int = 0
    """Requests with a known outcome on which both are measured."""
    keys: int = 0
    first: Found | None = None
    second: Found | None = None
    difference: Found | None = None
    problem: str = ""
    """Why nothing can be said; then there are no values."""
    unit: str = ""
    per_day: float | None = None
    """Requests a day at the recorded rate."""
    thinned: int = 1
    """1 if every request was measured; k if every k-th."""
    left_out: int = 0
    """Requests with a known outcome that have no such value, and do not count."""
    reading: str = ""
    """How answers are measured, in words."""
    of: str = "requests with a known outcome"

    @property
    def gain(self) -> Found | None:
        """How much better the first is: the difference, or minus it for a loss."""
        found = self.difference
        if self.metric.higher_is_better or found is None or isinstance(found, Undefined):
            return found
        if isinstance(found, TooFew):
            return TooFew(found.metric, -found.estimate, found.reason)
        return negated(found)

    @property
    def is_better(self) -> bool | None:
        """Whether the first is better than the second; None if that is not sure."""
        gain = self.gain
        if not isinstance(gain, Interval) or gain.low <= 0 <= gain.high:
            return None
        return gain.low > 0

    def sentence(self) -> str:
        """Return the finding in words."""
        title = self.metric.title[:1].upper() + self.metric.title[1:]
        if self.problem:
            return f"Nothing can be said about the {self.metric.title}: {self.problem}."
        first, second = self.first, self.second
        if isinstance(first, Undefined) or isinstance(second, Undefined):
            undefined = first if isinstance(first, Undefined) else second
            assert isinstance(undefined, Undefined)
            return f"The {self.metric.title} has no value: {undefined.reason}."
        a, b = self._shown
        of = f"on {self.requests:,} {self.of}"
        values = f"{a} {self.text(first)}, {b} {self.text(second)}"
        return f"{title} {of}: {values}: {self._verdict()}."

    @property
    def _shown(self) -> tuple[str, str]:
        return self.names[0].replace("_", " "), self.names[1].replace("_", " ")

    def _verdict(self) -> str:
        a, b = self._shown
        found = self.difference
        if not isinstance(found, Interval):
            reason = "not known" if found is None else found.reason
            return f"the difference has no interval, {reason}"
        words = {True: f"{a} is better", False: f"{b} is better", None: "it may be chance"}
        by = f"by {self.keys:,} keys" if self.keys < self.requests else "by request"
        text = f"{words[self.is_better]} (difference {self.signed(found)}, {by})"
        if (day := self.of_day()) is not None:
            text += f"; {day}"
        return text

    def of_day(self) -> str | None:
        """Return what the difference is worth in a day, in words; None for other metrics."""
        found = self.difference
        if self.metric.name != "value" or self.per_day is None or not isinstance(found, Interval):
            return None
        low, high = (number(end * self.per_day) for end in (found.low, found.high))
        worth = found.estimate * self.per_day
        unit = f" {self.unit}" if self.unit else ""
        more = "more" if worth >= 0 else "less"
        level = f"{100 * found.confidence:g} %"
        return (
            f"{self._shown[0]} is worth {number(abs(worth))}{unit} {more} per day "
            f"({level}: {low} to {high}) at the recorded {number(self.per_day)} requests a day"
        )

    def text(self, found: Found | None) -> str:
        """Return a value with its interval, as text."""
        if found is None or isinstance(found, Undefined):
            return "–"
        value = self._value(found.estimate)
        if isinstance(found, TooFew):
            return value
        low, high = (self._value(end).removesuffix(f" {self._unit}") for end in _ends(found))
        return f"{value} ({low} to {high})"

    def signed(self, found: Interval) -> str:
        """Return a difference with its interval, as text."""
        is_share = self.metric.unit == "%"
        unit = "points" if is_share else self._unit
        return signed(found, scale=100 if is_share else 1, unit=unit)

    @property
    def _unit(self) -> str:
        return self.unit or self.metric.unit

    def _value(self, value: float) -> str:
        text = self.metric.text(value)
        return f"{text} {self.unit}" if self.unit else text

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; what has no interval has a `reason`."""
        day = self.per_day if self.metric.name == "value" else None
        gain = self.difference
        return {
            "name": self.metric.name,
            "title": self.metric.title,
            "unit": self._unit,
            "higher_is_better": self.metric.higher_is_better,
            "requests": self.requests,
            "keys": self.keys,
            "left_out": self.left_out,
            "sampled_every": self.thinned,
            self.names[0]: found_json(self.first),
            self.names[1]: found_json(self.second),
            "difference": found_json(gain),
            "per_day": None if day is None else found_json(gain, day),
            "requests_per_day": self.per_day,
            "problem": self.problem or None,
            "reading": self.reading,
            "sentence": self.sentence(),
        }


def contrast_of(
    measure: Measure,
    names: tuple[str, str],
    points: tuple[Floats, Floats],
    truths: Floats,
    keys: Keys,
    *,
    problem: str = "",
    confidence: float = 0.95,
    per_day: float | None = None,
    thinned: int = 1,
) -> Contrast:
    """Measure two sides on the same requests, whose truths are known. Raises nothing."""
    metric = measure.metric
    problem = measure.problem or problem or _problem(measure, names, points) or measure.absent
    base = Contrast(
        metric,
        names,
        unit=measure.unit,
        per_day=per_day,
        thinned=thinned,
        reading=measure.sentence(),
    )
    if problem:
        return replace(base, problem=problem)
    first, second, requests = *points, len(truths)
    if measure.missing == "left out":
        there = ~np.isnan(first) & ~np.isnan(second)
        first, second, truths, keys = first[there], second[there], truths[there], keys[there]
    count = len(np.unique(keys))
    options: dict[str, Any] = {
        "keys": keys if count < len(truths) else None,
        "confidence": confidence,
        "missing": measure.missing,
        "positive": measure.positive,
    }
    try:
        found = [
            estimate(metric, first, truths, **options),
            estimate(metric, second, truths, **options),
            difference(metric, first, second, truths, **options),
        ]
    except InvalidSample as error:
        return replace(base, problem=str(error))
    return replace(
        base,
        requests=len(truths),
        keys=count,
        left_out=requests - len(truths),
        first=found[0],
        second=found[1],
        difference=found[2],
    )


def contrast_of_shares(
    title: str,
    names: tuple[str, str],
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    keys: Keys,
    *,
    of: str = "requests with a known outcome",
    confidence: float = 0.95,
) -> Contrast:
    """Compare how often something holds on the same requests: 1 or True, 0 or False."""
    metric = share_metric(title)
    a, b = first.astype(np.float64), second.astype(np.float64)
    count = len(np.unique(keys))
    units = keys if count < len(a) else None
    return Contrast(
        metric,
        names,
        len(a),
        count,
        estimate(metric, a, keys=units, confidence=confidence),
        estimate(metric, b, keys=units, confidence=confidence),
        difference(metric, a, b, keys=units, confidence=confidence),
        of=of,
    )


def share_metric(title: str) -> Metric:
    """Return the metric of how often something holds."""
    return replace(
        metric_named("value"), name="share", title=title, spread="share", unit="%", digits=1
    )


def _problem(measure: Measure, names: tuple[str, str], points: tuple[Floats, Floats]) -> str:
    if not len(points[0]):
        return "no outcome of these requests is known"
    for name, own in zip(names, points, strict=True):
        if np.isnan(own).all():
            return f"{name} never answers with {wanted(measure)}"
    return ""


def wanted(measure: Measure) -> str:
    """Return what an answer must have, in words."""
    kind = "a number" if measure.extract.is_number else "a value"
    field = measure.reading.answer
    return f"{kind} in the field {field!r}" if field else f"{kind} by which answers are judged"


def as_interval(found: Found | None, confidence: float = 0.95) -> Interval:
    """Return an interval without ends where there is none; an undefined value is 0."""
    if isinstance(found, Interval):
        return found
    value = found.estimate if isinstance(found, TooFew) else 0.0
    reason = "no requests" if found is None else found.reason
    return Interval(value, -math.inf, math.inf, confidence, reason)


def negated(found: Interval) -> Interval:
    """Return the interval of minus the value."""
    return Interval(
        -found.estimate, -found.high, -found.low, found.confidence, found.method, found.peeking
    )


def found_json(found: Found | None, scale: float = 1.0) -> dict[str, Any] | None:
    """Return a value and its ends, times `scale`, or the reason why there are none."""
    if found is None:
        return None
    if isinstance(found, Undefined):
        return {"value": None, "low": None, "high": None, "reason": found.reason}
    value = scale * found.estimate
    if isinstance(found, TooFew):
        return {"value": value, "low": None, "high": None, "reason": found.reason}
    ends = [scale * end if math.isfinite(end) else None for end in _ends(found)]
    return {
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "confidence": found.confidence,
        "method": found.method,
    }


def _ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high
