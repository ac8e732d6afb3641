"""Read what the commands about schedules need to know of a decision."""

from __future__ import annotations

import contextlib

from rdv.commands.errors import NeverServed
from rdv.commands.looking.reading import Observer
from rdv.commands.serving.check import retired_models
from rdv.config import Decision
from rdv.schedule import Finding, Schedule, lint_schedule


def known_models(decision: Decision) -> list[str]:
    """Return the models that rdv.toml declares, and those that run undeclared (`rdv model run`)."""
    known = decision.scoring_models()
    with contextlib.suppress(NeverServed), Observer(decision, window_s=0.001) as observer:
        rows = observer.look()["models"]
        known += [row["model"] for row in rows if not row["declared"]]
    return known


def lint(decision: Decision, schedule: Schedule, known: list[str]) -> list[Finding]:
    """Return the linter's findings, errors first."""
    return lint_schedule(schedule, known, retired_models(decision))


def users(decision: Decision, name: str) -> list[str]:
    """Return what uses a schedule by default: the decision ("live") and cohorts."""
    cohorts = decision.cohorts.groups.items()
    used = [f"cohort {cohort}" for cohort, group in cohorts if group.schedule == name]
    return ["live", *used] if name == decision.schedule else used
