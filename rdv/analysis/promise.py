"""Say whether the quality that a decision promises is held, and how long outcomes take to come.

Reads a bounded part of the log: the newest requests of the window, and outcomes recorded since.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_truths
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.measure import ROBUST, Kept, choose_measure
from rdv.analysis.measure.sides import JudgedCollector, Measured, Unmeasured
from rdv.analysis.metrics import Metric
from rdv.analysis.promise_changes import Break, find_break, read_changes
from rdv.analysis.statistics import plain
from rdv.decision import Decision
from rdv.payload import is_readable
from rdv.rendezvous.topology import INPUT, OUTCOMES

REQUESTS_MAX = 50_000
"""The maximum number of requests that are looked at, the newest."""
Verdict = Literal["held", "broken", "not sure", "not known"]


@dataclass(frozen=True)
class Promise:
    """Whether the promise is held, by the interval of the metric; and since when is looked at."""

    metric: Metric
    quality_min: float
    quality: Measured | Unmeasured
    requests: int
    known: int
    """Requests whose outcome is known."""
    since_ns: int
    lag_ms: float | None
    """The median time from a request to its outcome; None without any."""
    broke: Break | None = None
    """The recorded change at which it broke; None where that cannot be told."""
    changes: int = 0
    """How many changes are recorded in that time."""

    @property
    def verdict(self) -> Verdict:
        """Return what the interval says: "not sure" if it has the promised value in it."""
        if isinstance(self.quality, Unmeasured) or self.quality.interval is None:
            return "not known"
        ends = (self.quality.interval.low, self.quality.interval.high)
        worse, better = ends if self.metric.higher_is_better else ends[::-1]
        if meets(self.metric, worse, self.quality_min):
            return "held"
        return "not sure" if meets(self.metric, better, self.quality_min) else "broken"

    def sentence(self) -> str:
        """Return the finding in words."""
        wanted = self.metric.text(self.quality_min)
        least = "at least" if self.metric.higher_is_better else "at most"
        text = f"promised quality: {self.verdict}: {self.metric.title} of {least} {wanted}"
        if isinstance(self.quality, Unmeasured):
            return f"{text}; {self.quality.reason}"
        text += f"; it is {self.metric.text(self.quality.value)}"
        if (found := self.quality.interval) is None:
            text += f" ({self.quality.reason})"
        else:
            text += f" ({self.metric.text(found.low)} to {self.metric.text(found.high)})"
        text += f" on {self.known:,} known outcomes of {self.requests:,} requests"
        if self.lag_ms is not None:
            text += f"; outcomes come {_duration(self.lag_ms)} after their request (median)"
        return text + self._why()

    def _why(self) -> str:
        """Return at which change it broke, in words."""
        if self.broke is None:
            if self.verdict != "broken" or not self.changes:
                return ""
            return f"; at which of {self.changes} recorded changes it broke cannot be told"
        named = " or ".join(one.sentence() for one in self.broke.changes)
        sides = (
            f"{self.metric.text(one.estimate)} ({self.metric.text(one.low)} to "
            f"{self.metric.text(one.high)})"
            for one in (self.broke.before, self.broke.after)
        )
        before, after = sides
        return f"; it broke with {named}: {before} before, {after} after"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "verdict": self.verdict,
            "metric": self.metric.name,
            "quality_min": self.quality_min,
            "quality": plain(self.quality),
            "requests": self.requests,
            "known": self.known,
            "since_ns": self.since_ns,
            "outcome_lag_ms": self.lag_ms,
            "broke": plain(self.broke),
            "changes": self.changes,
            "sentence": self.sentence(),
        }


def meets(metric: Metric, value: float, quality_min: float) -> bool:
    """Return whether a value is as good as promised."""
    return value >= quality_min if metric.higher_is_better else value <= quality_min


def quality_promise(decision: Decision, now_ns: int) -> Promise | None:
    """Return whether the promise is held; None if there is none, or nothing is recorded.

    Raises UnknownMetric, InvalidMetric, TooManyValues, and the log's SystemFaults.
    """
    objective = decision.objective
    if objective.quality_min == "none":
        return None
    try:
        recorded = Recorded(decision.directory)
    except NothingRecorded:
        return None
    with recorded:
        return _judged(recorded, decision, float(objective.quality_min), now_ns)


def _judged(
    recorded: Recorded, decision: Decision, quality_min: float, now_ns: int
) -> Promise | None:
    objective = decision.objective
    since_ns = _since_ns(recorded, now_ns - objective.window_ms * 10**6)
    truths, known_ns = _read_since(recorded, since_ns)
    outcome = decision.outcome.of_given_answers()
    with choose_measure(
        recorded, outcome, None, objective.metric, decision.value, ROBUST
    ) as measure:
        collector = JudgedCollector(measure, 1, REQUESTS_MAX)
        requests, lags = 0, list[float]()
        kept_ns = Kept(REQUESTS_MAX)
        try:
            for joined in Join(recorded, since_ns, now_ns, extract=measure.extract):
                assert joined.given is not None
                found = truths.of(joined, measure.extract)
                collector.add(joined, [joined.given], found)
                kept_ns.add(joined.append_ns[~np.isnan(found)])
                requests += len(joined)
                ids, times_ns = joined.ids.tolist(), joined.time_ns.tolist()
                lags += [
                    max(0, known_ns[id_] - time_ns) / 1e6
                    for id_, time_ns in zip(ids, times_ns, strict=True)
                    if id_ in known_ns
                ]
        except NothingRecorded:
            return None
        judged = collector.judged()
        lag_ms = float(np.median(lags)) if lags else None
        quality = judged.side(0)
        known = collector.known
        changes = read_changes(recorded, since_ns, now_ns)
        columns = kept_ns.columns()
        broke = None
        if columns:
            is_met = partial(meets, measure.metric, quality_min=quality_min)
            broke = find_break(judged, columns[0], changes, is_met)
        return Promise(
            measure.metric, quality_min, quality, requests, known, since_ns, lag_ms, broke,
            len(changes),
        )  # fmt: skip


def _since_ns(recorded: Recorded, since_ns: int) -> int:
    """Return since when at most REQUESTS_MAX requests are recorded, but no earlier than asked."""
    parts = sources(recorded.stream(INPUT))
    most = max(1, REQUESTS_MAX // max(1, len(parts)))
    times = (part.time_at(part.end - most) for part in parts if part.end - part.begin > most)
    return max([since_ns, 0, *times])


def _read_since(recorded: Recorded, since_ns: int) -> tuple[Outcomes, dict[bytes, int]]:
    """Return the outcomes recorded since then, and when each was known."""
    truths: dict[bytes, bytes] = {}
    known_ns: dict[bytes, int] = {}
    for source in sources(recorded.stream(OUTCOMES)):
        for chunk in source.chunks(source.offset_at(since_ns), source.end, Notes()):
            for truth, append_ns in zip(read_truths(chunk), chunk.times_ns.tolist(), strict=True):
                if truth is None or not is_readable(bytes(truth.outcome)):
                    continue
                id_, at_ns = truth.id.encode(), truth.counts_from_ns(append_ns)
                if at_ns >= known_ns.get(id_, at_ns):
                    truths[id_], known_ns[id_] = bytes(truth.outcome), at_ns
    return Outcomes(truths), known_ns


def _duration(ms: float) -> str:
    """Return a time in the largest unit of which there are two or more."""
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 1000:.0f} s"
