"""The linter finds what is unwise in a valid schedule. Pure: it raises nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from rdv.codes import LintCode
from rdv.rendezvous.schedule.model import OTHERS, Schedule, Step

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A `Finding` is an error (the schedule cannot mean this) or a warning (it may not)."""

    severity: Severity
    code: LintCode
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.line()} ({self.code})"

    def line(self) -> str:
        """Return the sentence without its code."""
        return f"{self.severity}: {self.key}: {self.message}"


def lint_schedule(
    schedule: Schedule,
    known_models: Collection[str] | None = None,
    retired_models: Collection[str] = (),
) -> list[Finding]:
    """Return all findings, errors first. `known_models`: None when they are not known."""
    findings = [
        *_lint_default(schedule),
        *_lint_times(schedule),
        *_lint_names(schedule, known_models, retired_models),
        *_lint_needs(schedule, known_models),
        *_lint_overlaps(schedule),
        *_lint_fallback(schedule, known_models),
    ]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _at(number: int, key: str) -> str:
    return f"step[{number}].{key}"


def _lint_default(schedule: Schedule) -> Iterator[Finding]:
    if schedule.default is None:
        message = "there is none: a request that no model answers gets null"
        yield Finding("error", "default-missing", "default", message)


def _lint_times(schedule: Schedule) -> Iterator[Finding]:
    begin_ms, sla_ms = 0.0, schedule.sla_ms
    for number, step in enumerate(schedule.steps, start=1):
        until_ms = sla_ms if step.until_ms is None else step.until_ms
        key = _at(number, "until_ms")
        if begin_ms >= sla_ms:
            message = f"the step before it ends at {begin_ms:g} ms, and the SLA is {sla_ms:g} ms"
            yield Finding("error", "step-unreachable", f"step[{number}]", message)
        elif until_ms <= begin_ms:
            message = f"{until_ms:g} ms is not after {begin_ms:g} ms, the end of the step before it"
            yield Finding("error", "until-not-increasing", key, message)
        if until_ms > sla_ms:
            message = f"waits until {until_ms:g} ms, beyond the SLA of {sla_ms:g} ms"
            yield Finding("error", "beyond-sla", key, message)
        begin_ms = max(begin_ms, until_ms)
    if begin_ms < sla_ms:
        message = f"the default is given at {begin_ms:g} ms already, the SLA is {sla_ms:g} ms"
        yield Finding("warning", "gives-up-early", _at(len(schedule.steps), "until_ms"), message)


def _lint_names(
    schedule: Schedule, known: Collection[str] | None, retired: Collection[str]
) -> Iterator[Finding]:
    yield from _lint_models(schedule.input_judges, "input_judges", known, retired)
    for number, step in enumerate(schedule.steps, start=1):
        key = _at(number, "accept")
        yield from _lint_models(step.accept, key, known, retired)
        if OTHERS in step.accept and (after := step.accept[step.accept.index(OTHERS) + 1 :]):
            message = f"'*' stands before {after[0]!r}, so that any model not named is preferred"
            yield Finding("warning", "wildcard-first", key, message)


def _lint_models(
    models: Collection[str], key: str, known: Collection[str] | None, retired: Collection[str]
) -> Iterator[Finding]:
    for model in models:
        if model == OTHERS:
            continue
        if model in retired:
            yield Finding("error", "model-retired", key, f"{model!r} is retired")
        elif known is not None and model not in known:
            there_are = ", ".join(sorted(known)) or "none"
            message = f"there is no model {model!r}; there are: {there_are}"
            yield Finding("error", "model-unknown", key, message)


def _lint_needs(schedule: Schedule, known: Collection[str] | None) -> Iterator[Finding]:
    for number, step in enumerate(schedule.steps, start=1):
        accepted = _accepted_count(step, known)
        if isinstance(step.need, int) and accepted is not None and step.need > accepted:
            message = f"{step.need} answers are needed, and {accepted} models are accepted"
            yield Finding("error", "need-too-large", _at(number, "need"), message)


def _accepted_count(step: Step, known: Collection[str] | None) -> int | None:
    if OTHERS not in step.accept:
        return len(step.accept)
    return None if known is None else len({*step.accept, *known} - {OTHERS})


def _lint_overlaps(schedule: Schedule) -> Iterator[Finding]:
    """Warn of a step that accepts no further model on no easier terms: it only waits longer."""
    for number in range(2, len(schedule.steps) + 1):
        before, step = schedule.steps[number - 2 : number]
        if _is_single(before) and _covers(before, step):
            message = f"accepts no model that step[{number - 1}] does not: it only waits longer"
            yield Finding("warning", "step-redundant", _at(number, "accept"), message)


def _is_single(step: Step) -> bool:
    return step.need == 1 and isinstance(step.need, int)


def _covers(wide: Step, narrow: Step) -> bool:
    return OTHERS in wide.accept or set(narrow.accept) <= set(wide.accept)


def _lint_fallback(schedule: Schedule, known: Collection[str] | None) -> Iterator[Finding]:
    accepted = {model for step in schedule.steps for model in step.accept}
    if OTHERS not in accepted and len(accepted) == 1:
        message = f"only {accepted.pop()!r} is accepted: without it every answer is the default"
        yield Finding("warning", "no-fallback", "step", message)
    elif OTHERS in accepted and known is not None and len(accepted - {OTHERS} | {*known}) == 1:
        message = "there is only one model: without it every answer is the default"
        yield Finding("warning", "no-fallback", "step", message)
    last = schedule.steps[-1]
    if len(schedule.steps) > 1 and not _is_single(last):
        message = "the last step needs several answers: one model in time gives the default still"
        yield Finding(
            "warning", "last-step-needs-several", _at(len(schedule.steps), "need"), message
        )
