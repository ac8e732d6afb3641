"""A schedule as lanes: when which model is accepted, and preferred. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rdv.analysis.charts.chart import FloatArray
from rdv.analysis.charts.lanes import Dot, Handle, Lane, Lanes, Span
from rdv.rendezvous.schedule import OTHERS, Schedule, Step

LANES_MAX = 24


def models_of(schedule: Schedule, others: Sequence[str] = ()) -> list[str]:
    """Return the models in the order of the schedule, then the others; at most LANES_MAX."""
    named = dict.fromkeys(name for step in schedule.steps for name in step.accept)
    return [name for name in dict.fromkeys([*named, *others]) if name != OTHERS][:LANES_MAX]


def schedule_lanes(
    title: str,
    schedule: Schedule,
    others: Sequence[str] = (),
    *,
    dots: Mapping[str, Sequence[Dot]] | None = None,
    ridges: Mapping[str, FloatArray] | None = None,
    answer: float | None = None,
    end: float | None = None,
    names: Sequence[str] = (),
    note: str = "",
) -> Lanes:
    """Return the schedule with reports on it.

    `names`: those of the inputs that set the ends of the steps; an empty one cannot be dragged.
    """
    ends_ms = schedule.ends_ms()
    named = [*names, *[""] * (len(ends_ms) - len(names))]
    lanes = tuple(
        Lane(
            name,
            tuple(_spans(schedule, name, named)),
            tuple((dots or {}).get(name, ())),
            (ridges or {}).get(name),
        )
        for name in models_of(schedule, others)
    )
    handles = tuple(
        Handle(name, at, f"end of step {number}: drag it")
        for number, (name, at) in enumerate(zip(named, ends_ms, strict=True), start=1)
        if name
    )
    fixed = [
        (f"step {number}", at)
        for number, (name, at) in enumerate(zip(named, ends_ms, strict=True), start=1)
        if not name and at < schedule.sla_ms
    ]
    marks = (*fixed, ("SLA", schedule.sla_ms))
    return Lanes(title, max(schedule.sla_ms, end or 0.0), lanes, marks, handles, answer, note)


def _spans(schedule: Schedule, model: str, names: Sequence[str]) -> list[Span]:
    spans, begin, begin_name = [], 0.0, ""
    for step, end, name in zip(schedule.steps, schedule.ends_ms(), names, strict=True):
        if _accepts(step, model):
            ranked = model if model in step.accept else OTHERS
            spans.append(Span(begin, max(begin, end), step.accept[0] == ranked, begin_name, name))
        begin, begin_name = max(begin, end), name
    return spans


def _accepts(step: Step, model: str) -> bool:
    return model in step.accept or OTHERS in step.accept
