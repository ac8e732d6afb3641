"""What a promotion has come to: the checks of the gate, and what was done after them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from rdv.analysis.promote.proposal import Proposal
from rdv.analysis.promote.watch import Breach, WatchPeriod
from rdv.analysis.statistics import plain

Verdict = Literal["pass", "marginal", "fail", "unknown"]


@dataclass(frozen=True)
class Check:
    """One check. `figure` and `threshold` are in the unit that `text` names."""

    name: str
    verdict: Verdict
    figure: float | None
    threshold: float | None
    text: str
    is_judged: bool = False
    """Whether known outcomes tell it."""


@dataclass(frozen=True)
class Judgement:
    """All checks, and the worst of their verdicts; "unknown" is ignored."""

    checks: tuple[Check, ...]
    missing: str = ""
    """What has to be recorded before more can be decided; empty if nothing is missing."""

    @property
    def verdict(self) -> Verdict:
        verdicts = {check.verdict for check in self.checks}
        order: tuple[Verdict, ...] = ("fail", "marginal", "pass")
        return next((one for one in order if one in verdicts), "fail")

    @property
    def is_worse(self) -> bool:
        """Whether outcomes show that the challenger is worse than allowed."""
        judged = ("quality", "each class")
        return any(one.verdict == "fail" and one.is_judged for one in self.checks
                   if one.name in judged)  # fmt: skip

    def broken(self) -> tuple[str, ...]:
        """Return the checks that keep it from passing, as text."""
        return tuple(
            f"{check.name} ({check.verdict}): {check.text}"
            for check in self.checks
            if check.verdict in ("fail", "marginal")
        )


@dataclass(frozen=True)
class Switched:
    """After how many ms a server reported the schedule as live; None if none serves."""

    took_ms: float | None


@dataclass(frozen=True)
class Stage:
    """A stage of a ramp that has ended, and why."""

    share: float
    """The share of the keys that got the challenger's schedule."""
    answers: int
    """Answers of that schedule that were watched."""
    looks: int
    """How often the gate has judged the stage."""
    ended: Literal["passed", "time", "back"]
    text: str


@dataclass(frozen=True)
class Promotion:
    """The judgement of a proposal, whether it is live (`switched`), and how its watch ended."""

    judgement: Judgement
    proposal: Proposal
    switched: Switched | None = None
    watched: WatchPeriod | None = None
    breaches: list[Breach] = field(default_factory=list)
    """The limits that the new champion has broken: then it was rolled back."""
    stages: tuple[Stage, ...] = ()
    """The stages of a ramp that this command has carried out."""
    stepped_back: str = ""
    """Why a ramp was taken back; empty if it was not."""

    def as_json(self) -> dict[str, Any]:
        """Return everything in one object."""
        proposal, period, watch = self.proposal, self.watched, None
        if period is not None:
            watch = {
                "answers": period.answers,
                **{kind: period.totals[kind] for kind in period.bounds.shares},
                **{of: period.totals[of] for of in ("pairs", "scored", "differing", "judged")},
                "bounds": period.bounds.shares,
                "breaches": plain(self.breaches),
            }
        return {
            "verdict": self.judgement.verdict,
            "champion": proposal.champion,
            "challenger": proposal.challenger,
            "checks": plain(self.judgement.checks),
            "missing": self.judgement.missing,
            "schedule": proposal.after.label,
            "was": proposal.before.label,
            "diff": proposal.diff,
            "promoted": self.switched is not None,
            "live_after_ms": None if self.switched is None else self.switched.took_ms,
            "watch": watch,
            "rolled_back": bool(self.breaches or self.stepped_back),
            "stages": plain(list(self.stages)),
            "stepped_back": self.stepped_back or None,
        }
