"""Read what the commands about schedules need to know of a decision.

Read the schedule that a command is given: a file, or the name of one of the decision's.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from rdv.commands.errors import NeverServed
from rdv.commands.looking.reading import Observer
from rdv.commands.serving.check import retired_models
from rdv.decision import Decision
from rdv.rendezvous.schedule import Finding, Schedule, lint_schedule

if TYPE_CHECKING:
    from rdv.decision import Decision
    from rdv.rendezvous.schedule import Schedule


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


def given_schedule(decision: Decision, text: str) -> Schedule:
    """Return the given schedule. Raises InvalidSchedule, NotUsable, ScheduleNotFound,
    SystemFaults.
    """
    from rdv.commands.options import need_file
    from rdv.commands.serving.check import read_schedule
    from rdv.rendezvous.schedule import schedule_from_toml
    from rdv.stream.file.disk import faults

    if text.endswith(".toml") or os.path.dirname(text):
        need_file("--schedule", text)
    if not os.path.isfile(text):
        return read_schedule(decision, text)
    name = os.path.splitext(os.path.basename(text))[0]
    with faults(text, "read"), open(text, encoding="utf-8", errors="replace") as file:
        return schedule_from_toml(file.read(), name, text)
