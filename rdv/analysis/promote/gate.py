"""The gate judges a promotion: a pure function of figures and of the limits, [gate] in rdv.toml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rdv.analysis.charts.format import cell, number, share, signed
from rdv.analysis.promote.result import Check, Judgement, Verdict
from rdv.analysis.statistics.drift import Cause
from rdv.analysis.statistics.interval import Interval
from rdv.decision import Gate as Limits


@dataclass(frozen=True)
class Figures:
    """What is recorded of the challenger, compared with the champion on the same requests."""

    both: int
    """Requests that both have scored, the challenger in its newest version."""
    judged: int
    """Of those, requests with a known outcome."""
    loss: Interval | None
    """The champion's share of right answers minus the challenger's."""
    agreement: Interval | None
    agreement_of: str
    """"answers" or "ranks"."""
    kappa: float | None
    """The part of the agreement of answers that is beyond chance; None for ranks, or if unknown."""
    late: float
    """The share of answers that had not arrived within the champion's window."""
    champion_late: float
    errors: float
    refusals: float
    drift: Cause
    drift_sentence: str = ""


def judge(figures: Figures, limits: Limits) -> Judgement:
    """Make every check, in order of importance."""
    checks: tuple[Callable[[Figures, Limits], Check], ...] = (
        _requests, _quality, _latency, _errors, _refusals, _drift,
    )  # fmt: skip
    return Judgement(tuple(check(figures, limits) for check in checks))


def _requests(figures: Figures, limits: Limits) -> Check:
    enough = figures.both >= limits.requests_min
    text = (
        f"{figures.both:,} scored by both, the challenger in its newest version; "
        f"at least {limits.requests_min:,}"
    )
    verdict: Verdict = "pass" if enough else "fail"
    return Check("requests", verdict, figures.both, limits.requests_min, text)


def _quality(figures: Figures, limits: Limits) -> Check:
    """Pass if surely no worse than by `loss_max`, fail if surely worse than that, else marginal."""
    loss = figures.loss
    if loss is None or figures.judged < limits.judged_min:
        return _agreement(figures, limits)
    gain = Interval(-loss.estimate, -loss.high, -loss.low, loss.confidence, loss.method)
    verdict: Verdict = "marginal"
    if loss.high <= limits.loss_max:
        verdict = "pass"
    elif loss.low > limits.loss_max:
        verdict = "fail"
    text = (
        f"right answers compared with the champion: {signed(gain, scale=100, unit='points')} on "
        f"{figures.judged:,} known outcomes; the whole interval must be above "
        f"{signed(-limits.loss_max, scale=100)}"
    )
    return Check("quality", verdict, -loss.estimate, -limits.loss_max, text)


def _agreement(figures: Figures, limits: Limits) -> Check:
    found = figures.agreement
    if found is None:
        text = "no outcomes are known, and answers cannot be compared: name a field with --on"
        return Check("quality", "fail", None, limits.agreement_min, text)
    beyond = 1 - limits.marginal_factor * (1 - limits.agreement_min)
    verdict: Verdict = "fail"
    if found.low >= limits.agreement_min:
        verdict = "pass"
    elif found.high >= beyond:
        verdict = "marginal"
    text = (
        f"agreement with the champion by {figures.agreement_of}: {cell(found)}; the whole "
        f"interval must be above {limits.agreement_min:g}"
    )
    if figures.kappa is not None and figures.kappa < limits.kappa_min and verdict == "pass":
        verdict = "marginal"
        text += (
            f", but little of it is beyond chance (kappa {number(figures.kappa)}, at least "
            f"{limits.kappa_min:g}): most requests get the same answer from any model"
        )
    text += f". {figures.judged:,} outcomes are known: too few to decide which is right"
    return Check("quality", verdict, found.estimate, limits.agreement_min, text)


def _latency(figures: Figures, limits: Limits) -> Check:
    limit = max(limits.late_max, figures.champion_late)
    text = (
        f"{share(figures.late)} not there within the champion's window; at most {share(limit)} "
        f"(the champion: {share(figures.champion_late)})"
    )
    return _at_most("latency", figures.late, limit, text, limits)


def _errors(figures: Figures, limits: Limits) -> Check:
    text = f"{share(figures.errors)} errors; at most {share(limits.errors_max)}"
    return _at_most("errors", figures.errors, limits.errors_max, text, limits)


def _refusals(figures: Figures, limits: Limits) -> Check:
    text = f"{share(figures.refusals)} refused as too late; at most {share(limits.refusals_max)}"
    return _at_most("refusals", figures.refusals, limits.refusals_max, text, limits)


def _drift(figures: Figures, limits: Limits) -> Check:  # noqa: ARG001 - same signature as the other checks
    """Fail for a model that has changed: it was not one model. A changed input is marginal."""
    verdicts: dict[Cause, Verdict] = {
        "steady": "pass",
        "too few": "unknown",
        "input changed": "marginal",
        "canary changed": "marginal",
        "model changed": "fail",
    }
    return Check("drift", verdicts[figures.drift], None, None, figures.drift_sentence)


def _at_most(name: str, figure: float, limit: float, text: str, limits: Limits) -> Check:
    within: Verdict = "marginal" if figure <= limits.marginal_factor * limit else "fail"
    return Check(name, "pass" if figure <= limit else within, figure, limit, text)
