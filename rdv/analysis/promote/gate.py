"""The gate judges a promotion: a pure function of figures and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rdv.analysis.charts.format import cell, number, share, signed
from rdv.analysis.statistics.interval import Interval

Verdict = Literal["pass", "marginal", "fail", "unknown"]
Cause = Literal["too few", "steady", "input changed", "model changed", "canary changed"]


@dataclass(frozen=True)
class Limits:
    """What must hold. Shares are between 0 and 1; [gate] in rdv.toml has the same keys."""

    requests_min: int = 1000
    judged_min: int = 100
    loss_max: float = 0.005
    agreement_min: float = 0.9
    kappa_min: float = 0.6
    late_max: float = 0.01
    errors_max: float = 0.001
    refusals_max: float = 0.01
    defaults_max: float = 0.02
    marginal_factor: float = 5.0


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


@dataclass(frozen=True)
class Check:
    """One check. `figure` and `threshold` are in the unit that `text` names."""

    name: str
    verdict: Verdict
    figure: float | None
    threshold: float | None
    text: str


@dataclass(frozen=True)
class Gate:
    """All checks, and the worst of their verdicts; "unknown" is ignored."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        verdicts = {check.verdict for check in self.checks}
        order: tuple[Verdict, ...] = ("fail", "marginal", "pass")
        return next((one for one in order if one in verdicts), "fail")

    def broken(self) -> tuple[str, ...]:
        """Return the checks that keep it from passing, as text."""
        return tuple(
            f"{check.name} ({check.verdict}): {check.text}"
            for check in self.checks
            if check.verdict in ("fail", "marginal")
        )


def judge(figures: Figures, limits: Limits) -> Gate:
    """Make every check, in order of importance."""
    checks: tuple[Callable[[Figures, Limits], Check], ...] = (
        _requests, _quality, _latency, _errors, _refusals, _drift,
    )  # fmt: skip
    return Gate(tuple(check(figures, limits) for check in checks))


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
    verdict = _at_most(figures.late, limit, limits.marginal_factor)
    return Check("latency", verdict, figures.late, limit, text)


def _errors(figures: Figures, limits: Limits) -> Check:
    text = f"{share(figures.errors)} errors; at most {share(limits.errors_max)}"
    verdict = _at_most(figures.errors, limits.errors_max, limits.marginal_factor)
    return Check("errors", verdict, figures.errors, limits.errors_max, text)


def _refusals(figures: Figures, limits: Limits) -> Check:
    text = f"{share(figures.refusals)} refused as too late; at most {share(limits.refusals_max)}"
    verdict = _at_most(figures.refusals, limits.refusals_max, limits.marginal_factor)
    return Check("refusals", verdict, figures.refusals, limits.refusals_max, text)


def _drift(figures: Figures, limits: Limits) -> Check:  # noqa: ARG001 - same signature as the other checks
    """Fail for a model that has changed, as it was not one model; be marginal for a changed input,
    as the past then says less.
    """
    verdicts: dict[Cause, Verdict] = {
        "steady": "pass",
        "too few": "unknown",
        "input changed": "marginal",
        "canary changed": "marginal",
        "model changed": "fail",
    }
    return Check("drift", verdicts[figures.drift], None, None, figures.drift_sentence)


def _at_most(figure: float, limit: float, factor: float) -> Verdict:
    if figure <= limit:
        return "pass"
    return "marginal" if figure <= factor * limit else "fail"
