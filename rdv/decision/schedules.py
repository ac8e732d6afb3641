"""Read one schedule of a decision, and find the SLAs and the longest wait of its schedules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from rdv import toml_text
from rdv.decision.decision import Decision, read_schedules
from rdv.decision.errors import ScheduleNotFound
from rdv.decision.load import schedule_names
from rdv.errors import RdvError
from rdv.rendezvous.schedule import (
    SLA_MS_MAX,
    Finding,
    InvalidSchedule,
    Schedule,
    lint_schedule,
    schedule_from_object,
    schedule_from_toml,
)
from rdv.stream import DAY_MS
from rdv.system.faults import faults

HOUR_MS = DAY_MS // 24
_LABELS_MAX = 10_000


def read_schedule(decision: Decision, name: str = "") -> Schedule:
    """Return a schedule of the decision; without a name, the live one.

    Raises ScheduleNotFound, InvalidSchedule, SystemFaults.
    """
    name = name or decision.schedule
    known = schedule_names(decision.directory)
    if name not in known:
        raise ScheduleNotFound(decision.directory, name, known)
    return read_schedule_file(decision.schedule_path(name), name)


def schedule_of(decision: Decision, given: str | Mapping[str, Any] | Schedule) -> Schedule:
    """Return a schedule: given as it is, as an object, as a file, or as one of DIR by its name.

    Raises InvalidSchedule, ScheduleNotFound, SystemFaults.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, Mapping):
        return schedule_from_object(dict(given), "inline")
    if not os.path.isfile(given):
        return read_schedule(decision, given)
    return read_schedule_file(given, os.path.splitext(os.path.basename(given))[0])


def read_schedule_file(path: str, name: str) -> Schedule:
    """Return the schedule in a file. Raises InvalidSchedule, SystemFaults."""
    return schedule_from_toml(read_schedule_text(path), name, path)


def read_schedule_text(path: str) -> str:
    """Return the text of a schedule's file. Raises InvalidSchedule, SystemFaults."""
    try:
        with faults(path, "read"):
            return toml_text.read(path)
    except toml_text.NotToml as error:
        raise InvalidSchedule(path, "", str(error)) from None


def retired_models(decision: Decision) -> list[str]:
    """Return the models that rdv.toml keeps without running them."""
    return [name for name, model in decision.models.items() if model.retired]


def lint(decision: Decision, schedule: Schedule, known: list[str]) -> list[Finding]:
    """Return the linter's findings, errors first; `known` are the models that can answer."""
    return lint_schedule(schedule, known, retired_models(decision))


STUDY_MS = DAY_MS
"""The least span of judged requests that a study should have, in ms: a day has all hours."""


def lint_settings(decision: Decision) -> Iterator[Finding]:
    """Yield what is unwise in rdv.toml: spans of time, and outcomes of which little can be told."""
    yield from _lint_caused(decision)
    mature_ms, kept_ms = decision.outcome.mature_after_ms, decision.log.retention_ms
    if not mature_ms or kept_ms == "forever":
        return
    said = (
        f"a request without an outcome counts as {decision.outcome.mature_as or 'known'} after "
        f"{_days(mature_ms)}, but log.retention_ms keeps requests for {_days(kept_ms)}"
    )
    advice = f"keep them for at least {_days(mature_ms + STUDY_MS)} ({mature_ms + STUDY_MS} ms)"
    if kept_ms <= mature_ms:
        message = f"{said}: none is ever that old; {advice}"
        yield Finding("warning", "maturity-beyond-retention", "outcome.mature_after_ms", message)
    elif kept_ms < mature_ms + STUDY_MS:
        message = f"{said}: studies have {_days(kept_ms - mature_ms)} of them; {advice}"
        yield Finding("warning", "maturity-near-retention", "outcome.mature_after_ms", message)


def _lint_caused(decision: Decision) -> Iterator[Finding]:
    if not decision.outcome.caused_by_answer:
        return
    if not any(0 < one.explore < 1 for one in decision.cohorts.groups.values()):
        message = (
            "the answer given causes the outcome (caused_by_answer), and no cohort explores: "
            "nothing will be known about answers that were not given; set explore of a cohort in "
            "[cohorts], or split keys by cohorts (rdv ab)"
        )
        yield Finding("warning", "caused-without-exploration", "outcome.caused_by_answer", message)


def _days(span_ms: int) -> str:
    days = span_ms / DAY_MS
    return f"{days:.3g} days" if days >= 1 else f"{span_ms / HOUR_MS:.3g} hours"


def users_of(decision: Decision, name: str) -> list[str]:
    """Return what uses a schedule by default: the decision ("live") and cohorts."""
    cohorts = decision.cohorts.groups.items()
    used = [f"cohort {cohort}" for cohort, group in cohorts if group.schedule == name]
    return ["live", *used] if name == decision.schedule else used


def longest_wait_ms(decision: Decision, schedules: Mapping[str, Schedule] | None = None) -> float:
    """Return how long a request of this decision may be open, in ms.

    That is the longest SLA of its schedules, and of the inline ones that its proxies accept.
    `schedules` are read anew unless given.
    """
    found = read_schedules(decision.directory).by_name if schedules is None else schedules
    longest_ms = max((schedule.sla_ms for schedule in found.values()), default=0.0)
    live = found.get(decision.schedule)
    inline_ms = 0.0 if live is None else decision.http.inline_sla_max_ms(live.sla_ms)
    return max(longest_ms, min(inline_ms, SLA_MS_MAX))


class ScheduleSlas:
    """The SLAs of a decision's schedules, by the labels that results name."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._known: dict[str, float | None] = {}
        self._live_ms: float | None = None

    def find_ms(self, label: str) -> float | None:
        """Return the SLA in ms; None if the file has changed since, or is gone."""
        if label not in self._known:
            if len(self._known) >= _LABELS_MAX:
                self._known.clear()
            # A label appears after its file, so one that is not found now never will be.
            self._known[label] = None
            try:
                schedule = read_schedule(self._decision, label.partition("@")[0])
            except RdvError:
                return None
            self._known[schedule.label] = schedule.sla_ms
        return self._known[label]

    def sla_ms(self, label: str) -> float:
        """Return the SLA in ms; for an unknown label (an inline one) that of the live schedule."""
        found = self.find_ms(label)
        if found is None:
            if self._live_ms is None:
                self._live_ms = read_schedule(self._decision).sla_ms
            found = self._live_ms
        return found
