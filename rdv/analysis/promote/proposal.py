"""A proposal says which model replaces which, and how that changes the live schedule's file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from rdv.analysis.promote.exchange import champion_of, exchange
from rdv.decision import Decision, ModelNotFound
from rdv.decision.schedules import lint, read_schedule, read_schedule_text, retired_models
from rdv.errors import NotUsable
from rdv.rendezvous.schedule import OTHERS, Schedule, schedule_from_toml
from rdv.rendezvous.schedule.model import windows_ms


@dataclass(frozen=True)
class Proposal:
    """The two models, their schedules, and `old` and `new`, the texts of the same file."""

    champion: str
    challenger: str
    before: Schedule
    after: Schedule
    path: str
    old: str
    new: str

    @property
    def diff(self) -> list[str]:
        """The unified diff of the two texts, as lines without their ends."""
        lines = difflib.unified_diff(
            self.old.splitlines(), self.new.splitlines(), self.path, self.path, lineterm="", n=2
        )
        return list(lines)

    @property
    def window_ms(self) -> float:
        """Until when the champion's answer is accepted, in ms from the start of the request."""
        return windows_ms(self.before).get(self.champion, self.before.sla_ms)


def propose(
    decision: Decision,
    challenger: str,
    champion: str | None,
    known: list[str],
    *,
    force: bool,
) -> Proposal:
    """Make a proposal. Raises NotUsable, CannotExchange, ScheduleNotFound, InvalidSchedule,
    ModelNotFound, SystemFaults.

    `known` are the models that are declared or run. `force` allows a model that is
    neither declared nor running, and what the linter calls an error.
    """
    before = read_schedule(decision)
    if not force:
        names = {model for step in before.steps for model in step.accept}
        _check_names(decision, {*known, *retired_models(decision), *names}, challenger, champion)
    path = decision.schedule_path()
    old = read_schedule_text(path)
    champion = champion or champion_of(before)
    if champion is None:
        reason = "its first step accepts any model: there is no champion"
        raise NotUsable(path, reason, "Name the model to replace: --over MODEL.")
    if challenger == champion:
        raise NotUsable(challenger, f"is the champion of {before.label} already")
    new = exchange(old, before.name, champion, challenger, path)
    after = schedule_from_toml(new, before.name, path)
    if not force:
        _refuse_errors(decision, after, known, path)
    return Proposal(champion, challenger, before, after, path, old, new)


def _check_names(decision: Decision, known: set[str], *names: str | None) -> None:
    for name in names:
        if name is not None and name not in known:
            raise ModelNotFound(decision.directory, name, tuple(sorted(known - {OTHERS})))


def _refuse_errors(decision: Decision, after: Schedule, known: list[str], path: str) -> None:
    found = lint(decision, after, known)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        advice = "Correct it first, or promote anyway with --force."
        raise NotUsable(path, f"after the change: {errors[0]}", advice)
