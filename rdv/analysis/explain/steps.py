"""Find out what happened in each step of a schedule. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from rdv.analysis.explain.result import ExplainedStep
from rdv.rendezvous.reference import Report, decide
from rdv.rendezvous.schedule import OTHERS, Schedule


def explain_steps(
    schedule: Schedule,
    reports: Sequence[Report],
    *,
    live: Collection[str],
    dead: Collection[str],
    deadline_ms: float | None,
    left_out: Collection[str] = (),
) -> list[ExplainedStep]:
    """Return the steps up to the one that decided, by the plain rule (`rdv.rendezvous.reference`).

    A schedule that ends after step k gives the default exactly when that step ends.
    """
    found: list[ExplainedStep] = []
    begin_ns = 0
    for number, step in enumerate(schedule.steps, start=1):
        until = msgspec.structs.replace(schedule, steps=schedule.steps[:number])
        decision = decide(
            until, reports, live=live, dead=dead, deadline_ms=deadline_ms, left_out=left_out
        )
        judge = "" if decision.kind != "default" else _judge(schedule, reports, decision.at_ns)
        end_ns = max(begin_ns, decision.at_ns)
        eligible = [
            report.score.model
            for report in reports
            if report.at_ns <= end_ns
            and not isinstance(report.score.result, msgspec.UnsetType)
            and (report.score.model in step.accept or OTHERS in step.accept)
        ]
        ends_ms = min(schedule.ends_ms()[number - 1], deadline_ms or schedule.sla_ms)
        if decision.kind != "default":
            ended = f"{' + '.join(decision.models)} has answered"
        elif judge:
            ended = f"{judge} says that the input is invalid"
        elif end_ns < round(ends_ms * 1000) * 1000:
            ended = "no model is left to wait for"
        else:
            ended = "its time was over"
        found.append(
            ExplainedStep(
                number,
                begin_ns / 1e6,
                end_ns / 1e6,
                tuple(step.accept),
                str(step.need),
                tuple(sorted(dict.fromkeys(eligible), key=lambda m: _rank(step.accept, m))),
                ended,
            )
        )
        if judge or decision.kind != "default":
            return found
        begin_ns = end_ns
    return found


def _judge(schedule: Schedule, reports: Sequence[Report], at_ns: int) -> str:
    """Return the judge whose report ended the decision at `at_ns`; empty when none did."""
    for report in reports:
        if report.score.refusal == "bad input" and report.score.model in schedule.input_judges:
            return report.score.model if max(0, report.at_ns) == at_ns else ""
    return ""


def _rank(accept: Sequence[str], model: str) -> int:
    return accept.index(model if model in accept else OTHERS)
