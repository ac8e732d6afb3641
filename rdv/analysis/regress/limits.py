"""Judge a change by its limits: pure functions of the figures. A limit that cannot be judged fails.

The figures are facts about the recorded requests, so a limit is held by the figure itself; the
interval says how far it may differ on other requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rdv.analysis.charts import number, share, signed
from rdv.analysis.measure.sides import Measured, Unmeasured
from rdv.analysis.metrics import Metric
from rdv.analysis.statistics import Interval, plain
from rdv.rendezvous.schedule import Finding

P99_REQUESTS_MIN = 100
"""The minimum number of requests for a p99: of fewer it is the longest wait."""

Verdict = Literal["held", "broken", "cannot be judged"]


@dataclass(frozen=True)
class Limits:
    """What may change at most; None: no limit. Shares are between 0 and 1."""

    changed_max: float | None = None
    p99_ms_max: float | None = None
    loss_max: float | None = None
    """The largest loss of quality, in the metric's own unit (a share for metrics in per cent)."""
    quality_min: float | None = None
    """The quality that [objective] of rdv.toml promises."""

    @property
    def is_empty(self) -> bool:
        return self == Limits()


@dataclass(frozen=True)
class Check:
    """One limit. `figure` and `limit` are in the unit that `text` names."""

    name: str
    verdict: Verdict
    text: str
    figure: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = plain(self)
        return fields


@dataclass(frozen=True)
class Figures:
    """What the limits are held against."""

    requests: int
    """Requests that are compared: all but those that a proxy had to answer by itself."""
    changed: int
    changed_share: Interval | None
    """The share of changed answers, with its interval by key; None if there are too few keys."""
    p99_ms: float | None
    waits: int
    metric: Metric
    change: Measured | Unmeasured
    """The metric of the new answers minus that of the recorded ones."""
    judged: int
    quality: Measured | Unmeasured
    """The metric of the new answers."""
    never_ran: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def loss(self) -> Measured | None:
        """How much worse the new answers are: positive is a loss. None if that is not known."""
        if isinstance(self.change, Unmeasured):
            return None
        sign = -1 if self.metric.higher_is_better else 1
        one = self.change.interval
        if one is not None and sign < 0:
            one = Interval(0.0 - one.estimate, -one.high, -one.low, one.confidence, one.method)
        return Measured(0.0 + sign * self.change.value, one, self.change.reason)


def judge(figures: Figures, limits: Limits) -> tuple[Check, ...]:
    """Return a check for each limit that is given, and one for what the linter has found."""
    return tuple(_checks(figures, limits))


def broken(checks: Sequence[Check]) -> tuple[str, ...]:
    """Return the checks that are not held, as text."""
    return tuple(
        f"{check.name} ({check.verdict}): {check.text}"
        for check in checks
        if check.verdict != "held"
    )


def _checks(figures: Figures, limits: Limits) -> Iterator[Check]:
    errors = [finding for finding in figures.findings if finding.severity == "error"]
    if errors:
        yield Check("linter", "broken", "; ".join(map(str, errors)))
    if limits.changed_max is not None:
        yield _unless_silent(figures, "changed answers", limits.changed_max) or _changed(
            figures, limits.changed_max
        )
    if limits.p99_ms_max is not None:
        yield _unless_silent(figures, "p99", limits.p99_ms_max) or _p99(figures, limits.p99_ms_max)
    if limits.loss_max is not None:
        yield _unless_silent(figures, "quality", limits.loss_max) or _loss(figures, limits.loss_max)
    if (least := limits.quality_min) is not None:
        yield _unless_silent(figures, "promised quality", least) or _promised(figures, least)


def _promised(figures: Figures, least: float) -> Check:
    metric, quality, name = figures.metric, figures.quality, "promised quality"
    wanted = metric.text(least)
    if isinstance(quality, Unmeasured):
        text = f"{metric.title}: {quality.reason}; [objective] promises {wanted}"
        return Check(name, "cannot be judged", text, None, least)
    if quality.interval is None:
        text = f"{metric.title} is {metric.text(quality.value)}, but {quality.reason}"
        return Check(name, "cannot be judged", text, quality.value, least)
    ends = f"{metric.text(quality.interval.low)} to {metric.text(quality.interval.high)}"
    text = f"{metric.title} is {metric.text(quality.value)} ({ends}); [objective] promises {wanted}"
    good = quality.value >= least if metric.higher_is_better else quality.value <= least
    return Check(name, "held" if good else "broken", text, quality.value, least)


def _unless_silent(figures: Figures, name: str, limit: float) -> Check | None:
    """Return a check that cannot be judged, if the schedule names models that did not run."""
    if not figures.never_ran:
        return None
    one = figures.never_ran[0]
    text = (
        f"{', '.join(figures.never_ran)} did not run while these requests were recorded; give the "
        f"file to replay: --model {one}=FILE"
    )
    return Check(name, "cannot be judged", text, None, limit)


def _changed(figures: Figures, limit: float) -> Check:
    name = "changed answers"
    if not figures.requests:
        return Check(name, "cannot be judged", "no recorded request has an answer", None, limit)
    found = figures.changed / figures.requests
    text = f"{_shown(figures.changed_share, found)} of the answers change, at most {share(limit)}"
    return Check(name, "held" if found <= limit else "broken", text, found, limit)


def _shown(interval: Interval | None, value: float) -> str:
    return str(share(value if interval is None else interval))


def _p99(figures: Figures, limit: float) -> Check:
    if figures.waits < P99_REQUESTS_MIN or figures.p99_ms is None:
        text = f"{figures.waits:,} requests are recorded, a p99 needs {P99_REQUESTS_MIN}"
        return Check("p99", "cannot be judged", text, None, limit)
    text = f"the p99 of the waits is {number(figures.p99_ms)} ms, at most {number(limit)} ms"
    verdict: Verdict = "held" if figures.p99_ms <= limit else "broken"
    return Check("p99", verdict, text, figures.p99_ms, limit)


def _loss(figures: Figures, limit: float) -> Check:
    metric, loss = figures.metric, figures.loss
    allowed = loss_text(metric, limit)
    if loss is None:
        assert isinstance(figures.change, Unmeasured)
        text = f"{metric.title}: {figures.change.reason}; a loss of at most {allowed} is asked for"
        return Check("quality", "cannot be judged", text, None, limit)
    if loss.interval is None:
        text = (
            f"{metric.title} changes by {change_text(metric, -loss.value)}, but {loss.reason}; a "
            f"loss of at most {allowed} is asked for"
        )
        verdict: Verdict = "broken" if loss.value > limit else "cannot be judged"
        return Check("quality", verdict, text, loss.value, limit)
    if loss.value == loss.interval.low == loss.interval.high == 0:
        text = f"{metric.title} is the same on {figures.judged:,} known outcomes"
        return Check("quality", "held", text, 0.0, limit)
    gain = Interval(
        0.0 - loss.value, -loss.interval.high, -loss.interval.low, 0.95, loss.interval.method
    )
    text = (
        f"{metric.title} gains {change_text(metric, gain)} on {figures.judged:,} known outcomes; "
        f"a loss of at most {allowed} is allowed"
    )
    if not metric.higher_is_better:
        text = f"{metric.title} falls by {change_text(metric, gain)} on {figures.judged:,} known "
        text += f"outcomes; it may rise by at most {allowed}"
    if loss.value <= limit < loss.interval.high:
        text += f"; a loss of {loss_text(metric, loss.interval.high)} cannot be ruled out"
    return Check("quality", "held" if loss.value <= limit else "broken", text, loss.value, limit)


def change_text(metric: Metric, value: float | Interval) -> str:
    """Return a difference with its sign, in points for metrics that are shares."""
    is_share = metric.unit == "%"
    return str(signed(value, scale=100 if is_share else 1, unit="points" if is_share else ""))


def loss_text(metric: Metric, value: float) -> str:
    """Return a loss without a sign, in points for metrics that are shares."""
    return f"{number(100 * value)} points" if metric.unit == "%" else str(number(value))
