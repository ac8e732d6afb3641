"""The gate judges a promotion: a pure function of figures and of the limits, [gate] in rdv.toml."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rdv.analysis.charts.format import cell, number, share, signed
from rdv.analysis.promote.result import Check, Judgement, Verdict
from rdv.analysis.statistics.drift.timeline import Cause
from rdv.analysis.statistics.interval import Interval
from rdv.decision import Gate as Limits

COUNT_MAX = 10**9
"""More outcomes than that are not worth naming."""


@dataclass(frozen=True)
class Quality:
    """How good the challenger is by a metric, compared with the champion on the same requests."""

    metric: str
    """The metric's title."""
    champion: str
    challenger: str
    """Both values as text, with their unit."""
    loss: Interval
    """How much worse the challenger is; its unit is a key."""
    loss_max: float
    """The largest loss that is allowed, in the unit of `loss`."""
    is_share: bool
    """Whether the loss is shown in points of a percentage."""
    holds: str = "for one look"
    """For how many looks the interval holds, in words."""
    per_day: float | None = None
    """Requests a day, where the metric is a value that adds up; else None."""
    unit: str = ""


@dataclass(frozen=True)
class ClassLoss:
    """How much less often the challenger is right among the outcomes of one class."""

    name: str
    known: int
    loss: Interval | None
    """None if there are too few."""


@dataclass(frozen=True)
class Figures:
    """What is recorded of the challenger, compared with the champion on the same requests."""

    both: int
    """Requests that both have scored, each in its newest version."""
    judged: int
    """Of those, requests with a known outcome."""
    quality: Quality | None
    """None if outcomes do not tell it; then `problem` says why."""
    problem: str
    classes: tuple[ClassLoss, ...]
    """By class of the outcomes, the most frequent first; empty for numbers."""
    versions: str
    """The versions that are compared, and since when, in words."""
    agreement: Interval | None
    agreement_of: str
    """"answers" or "ranks"."""
    kappa: float | None
    """The part of the agreement of answers that is beyond chance; None for ranks, or if unknown."""
    late: float
    """The share of answers that had not arrived within the champion's window."""
    champion_late: float
    errors: float
    champion_errors: float
    refusals: float
    drift: Cause
    drift_sentence: str = ""
    has_canary: bool = False
    """Whether the drift is judged by a canary, and not by the champion."""
    coverage: float = 1.0
    """The share of the requests whose outcome is known."""


def judge(figures: Figures, limits: Limits) -> Judgement:
    """Make every check, in order of importance."""
    checks: tuple[Callable[[Figures, Limits], Check], ...] = (
        _requests, _quality, _classes, _latency, _errors, _refusals, _drift,
    )  # fmt: skip
    return Judgement(tuple(check(figures, limits) for check in checks), missing(figures, limits))


def missing(figures: Figures, limits: Limits) -> str:
    """Return what has to be recorded before more can be decided; empty if nothing is missing."""
    parts = []
    if (lacking := limits.requests_min - figures.both) > 0:
        parts.append(f"{lacking:,} more requests that both have scored")
    reason = _too_few(figures, limits)
    if figures.problem:
        parts.append(f"outcomes that tell which is right ({figures.problem})")
    elif (lacking := limits.judged_min - figures.judged) > 0:
        parts.append(f"{lacking:,} more known outcomes")
    elif reason and figures.coverage < limits.coverage_min:
        parts.append(f"more known outcomes ({reason})")
    elif reason:
        few = (one for one in figures.classes if one.known < limits.class_min)
        parts += [f"{limits.class_min - one.known:,} more outcomes of {one.name}" for one in few]
    elif figures.quality is not None and (count := _more_outcomes(figures, figures.quality)):
        parts.append(f"about {count:,} more known outcomes, if the difference stays as it is")
    return "; ".join(parts)


def _more_outcomes(figures: Figures, found: Quality) -> int:
    """Return how many more make the interval narrow enough for a verdict; 0 if it is, or never."""
    loss, limit = found.loss, found.loss_max
    away = limit - loss.estimate
    if _of_loss(loss, limit) != "marginal" or not away:
        return 0
    reach = loss.high - loss.estimate if away > 0 else loss.estimate - loss.low
    needed = figures.judged * (reach / away) ** 2
    return math.ceil(needed - figures.judged) if needed < COUNT_MAX else 0


def _requests(figures: Figures, limits: Limits) -> Check:
    enough = figures.both >= limits.requests_min
    text = f"{figures.both:,} scored by both, at least {limits.requests_min:,}; {figures.versions}"
    verdict: Verdict = "pass" if enough else "fail"
    return Check("requests", verdict, figures.both, limits.requests_min, text)


def _quality(figures: Figures, limits: Limits) -> Check:
    """Pass if surely no worse than by the margin, fail if surely worse than that, else marginal."""
    found = figures.quality
    if found is None or _too_few(figures, limits):
        return _agreement(figures, limits)
    scale, unit = (100, "points") if found.is_share else (1, "")
    loss = found.loss
    gain = Interval(-loss.estimate, -loss.high, -loss.low, loss.confidence, loss.method)
    of = f"{figures.judged:,} known outcomes ({share(figures.coverage)} of the requests)"
    difference = signed(gain, scale=scale, unit=unit)
    text = (
        f"{found.metric} on {of}: {found.challenger}, the champion {found.champion}; difference "
        f"{difference}, the whole interval must be above {signed(-found.loss_max, scale=scale)} "
        f"(it holds {found.holds})"
    )
    if found.per_day is not None:
        day = signed(gain, scale=found.per_day, unit=found.unit)
        text += f"; per day {day}, at the recorded {number(found.per_day)} requests a day"
    verdict = _of_loss(loss, found.loss_max)
    return Check("quality", verdict, -loss.estimate, -found.loss_max, text, is_judged=True)


def _of_loss(loss: Interval, limit: float) -> Verdict:
    if loss.high <= limit:
        return "pass"
    return "fail" if loss.low > limit else "marginal"


def _too_few(figures: Figures, limits: Limits) -> str:
    """Return which outcomes are missing to judge by them; empty if there are enough."""
    if figures.problem:
        return figures.problem
    if figures.judged < limits.judged_min:
        return f"{figures.judged:,} outcomes are known, at least {limits.judged_min:,} are needed"
    if figures.coverage < limits.coverage_min:
        return (
            f"the outcomes of {share(figures.coverage)} of the requests are known, at least "
            f"{share(limits.coverage_min)} are needed"
        )
    few = (one for one in figures.classes if one.known < limits.class_min)
    rare = [f"{one.known:,} of {one.name}" for one in few]
    if rare:
        return (
            f"too few outcomes are known of each class ({', '.join(rare)}), at least "
            f"{limits.class_min:,} are needed"
        )
    return ""


def _classes(figures: Figures, limits: Limits) -> Check:
    """Fail if it is surely worse among the outcomes of one class, whatever the others gain."""
    losses = [one for one in figures.classes if one.loss is not None]
    if not losses or _too_few(figures, limits):
        return Check("each class", "unknown", None, limits.class_loss_max, "not judged by outcomes")
    order: dict[Verdict, int] = {"pass": 0, "marginal": 1, "fail": 2, "unknown": 0}
    found = [(one, _class_verdict(one, limits)) for one in losses]
    worst, verdict = max(
        found, key=lambda one: (order[one[1]], 0.0 if one[0].loss is None else one[0].loss.estimate)
    )
    assert worst.loss is not None
    gain = Interval(
        -worst.loss.estimate, -worst.loss.high, -worst.loss.low, worst.loss.confidence, ""
    )
    text = (
        f"right where the outcome is {worst.name} ({worst.known:,}): "
        f"{signed(gain, scale=100, unit='points')} compared with the champion; at least "
        f"{signed(-limits.class_loss_max, scale=100)}"
    )
    return Check(
        "each class", verdict, -worst.loss.estimate, -limits.class_loss_max, text, is_judged=True
    )


def _class_verdict(one: ClassLoss, limits: Limits) -> Verdict:
    """Pass by the estimate: the intervals of many small classes would let nothing pass."""
    if one.loss is None or one.loss.estimate <= limits.class_loss_max:
        return "pass"
    return "fail" if one.loss.low > limits.class_loss_max else "marginal"


def _agreement(figures: Figures, limits: Limits) -> Check:
    found = figures.agreement
    reason = _too_few(figures, limits)
    if found is None:
        text = f"{reason}; and answers cannot be compared: name a field with --on"
        return Check("quality", "fail", None, limits.agreement_min, text)
    beyond = 1 - limits.marginal_factor * (1 - limits.agreement_min)
    verdict: Verdict = "fail"
    if found.low >= limits.agreement_min:
        verdict = "pass"
    elif found.high >= beyond:
        verdict = "marginal"
    text = (
        f"agreement with the champion by {figures.agreement_of}: {cell(found)}, by key, for "
        f"{limits.looks} looks; the whole interval must be above {limits.agreement_min:g}"
    )
    if figures.kappa is not None and figures.kappa < limits.kappa_min and verdict == "pass":
        verdict = "marginal"
        text += (
            f", but little of it is beyond chance (kappa {number(figures.kappa)}, at least "
            f"{limits.kappa_min:g}): most requests get the same answer from any model"
        )
    text += f". Not judged by outcomes: {reason}"
    return Check("quality", verdict, found.estimate, limits.agreement_min, text)


def _latency(figures: Figures, limits: Limits) -> Check:
    limit = max(limits.late_max, figures.champion_late)
    text = (
        f"{share(figures.late)} not there within the champion's window; at most {share(limit)} "
        f"(the champion: {share(figures.champion_late)})"
    )
    return _at_most("latency", figures.late, limit, text, limits)


def _errors(figures: Figures, limits: Limits) -> Check:
    """Allow as many errors as the champion has: some rows of clients no model can score."""
    limit = max(limits.errors_max, figures.champion_errors)
    text = (
        f"{share(figures.errors)} errors; at most {share(limit)} (the champion: "
        f"{share(figures.champion_errors)})"
    )
    return _at_most("errors", figures.errors, limit, text, limits)


def _refusals(figures: Figures, limits: Limits) -> Check:
    text = f"{share(figures.refusals)} refused as too late; at most {share(limits.refusals_max)}"
    return _at_most("refusals", figures.refusals, limits.refusals_max, text, limits)


def _drift(figures: Figures, limits: Limits) -> Check:
    """Fail for a model that has surely changed: it was not one model.

    Only a canary shows that; without one an input that only this model uses may have changed, which
    is marginal, as a changed input is: unless outcomes judge the answers. That the champion has
    moved alone is no fault of this model: it may be why it is to be replaced.
    """
    verdicts: dict[Cause, Verdict] = {
        "steady": "pass",
        "too few": "unknown",
        "input changed": "marginal",
        "canary changed": "marginal" if figures.has_canary else "pass",
        "model changed": "fail" if figures.has_canary else "marginal",
    }
    verdict, text = verdicts[figures.drift], figures.drift_sentence
    is_judged = figures.quality is not None and not _too_few(figures, limits)
    if is_judged and verdict == "marginal":
        verdict = "pass"
        text += " Outcomes say how good it was all the same."
    return Check("drift", verdict, None, None, text)


def _at_most(name: str, figure: float, limit: float, text: str, limits: Limits) -> Check:
    within: Verdict = "marginal" if figure <= limits.marginal_factor * limit else "fail"
    return Check(name, "pass" if figure <= limit else within, figure, limit, text)
