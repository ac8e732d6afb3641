"""`draw_schedule` draws a schedule as a timeline of text. Pure; `rdv schedule show` prints it."""

from __future__ import annotations

import itertools
import json

from rdv.rendezvous.schedule.model import OTHERS, Schedule, Step

WIDTH_MIN = 40
_LABEL_MAX = 24
_FIRST, _LATER, _NOT_YET = "█", "▒", "·"
_FIRST_ASCII, _LATER_ASCII, _NOT_YET_ASCII = "#", "=", "."


def draw_schedule(schedule: Schedule, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """Return lines of at most `width` characters (at least 40): one bar per model over 0..sla_ms.

    A full block marks the best-ranked model of its step, a light one a model that is also accepted,
    a dot one that is not.
    """
    marks = (
        (_FIRST_ASCII, _LATER_ASCII, _NOT_YET_ASCII) if ascii_only else (_FIRST, _LATER, _NOT_YET)
    )
    width = max(width, WIDTH_MIN)
    models = _models(schedule)
    label_width = min(_LABEL_MAX, max(len(_label(model)) for model in [*models, "default"]))
    cells = width - label_width - 2
    edges = _edges(schedule, cells)
    lines = [f"{'ms':>{label_width}}  {_axis(schedule, edges, cells)}"]
    for model in models:
        bar = "".join(
            _mark(step, model, marks) * (end - begin)
            for step, begin, end in zip(schedule.steps, edges[:-1], edges[1:], strict=True)
        )
        lines.append(f"{_label(model)[:label_width]:<{label_width}}  {bar.ljust(cells, marks[2])}")
    lines.append(f"{'step':<{label_width}}  {_step_numbers(edges, cells)}")
    lines += [f"{'':<{label_width}}  {note}"[:width] for note in _notes(schedule)]
    return [line.rstrip() for line in lines]


def _models(schedule: Schedule) -> list[str]:
    """Return the models in order of their first appearance, "*" last."""
    names = dict.fromkeys(model for step in schedule.steps for model in step.accept)
    return sorted(names, key=lambda model: model == OTHERS)


def _label(model: str) -> str:
    return "any other (*)" if model == OTHERS else model


def _edges(schedule: Schedule, cells: int) -> list[int]:
    """Return the columns where the steps begin and end; a step never ends before it begins."""
    edges = [0]
    for end_ms in schedule.ends_ms():
        edges.append(max(edges[-1], round(end_ms / schedule.sla_ms * cells)))
    return edges


def _mark(step: Step, model: str, marks: tuple[str, str, str]) -> str:
    ranked = model if model in step.accept else OTHERS
    if ranked in step.accept:
        return marks[0] if step.accept[0] == ranked else marks[1]
    return marks[2]


def _axis(schedule: Schedule, edges: list[int], cells: int) -> str:
    """Draw times at the edges; skip those that would touch the previous one, but not the SLA."""
    axis = [" "] * cells
    times = [0.0, *schedule.ends_ms(), schedule.sla_ms]
    free = 0
    last = f"{schedule.sla_ms:g}"
    for column, time_ms in zip([*edges, cells], times, strict=True):
        text = f"{time_ms:g}"
        if free <= column and column + len(text) < cells - len(last):
            axis[column : column + len(text)] = text
            free = column + len(text) + 1
    axis[cells - len(last) :] = last
    return "".join(axis)


def _step_numbers(edges: list[int], cells: int) -> str:
    numbers = [" "] * cells
    for number, (begin, end) in enumerate(itertools.pairwise(edges), start=1):
        text = str(number)
        if end - begin >= len(text):
            numbers[begin : begin + len(text)] = text
    return "".join(numbers)


def _notes(schedule: Schedule) -> list[str]:
    """Return what the bars cannot show: quorums, and the default."""
    notes = [
        f"step {number}: {_need_text(step)} answers, {step.combine}"
        for number, step in enumerate(schedule.steps, start=1)
        if step.need != 1 or step.combine != "best"
    ]
    given_ms = max(schedule.ends_ms())
    return [*notes, f"no answer by {given_ms:g} ms: {_short(schedule.default)}"]


def _need_text(step: Step) -> str:
    return f"{step.need:.0%} of the" if isinstance(step.need, float) else str(step.need)


def _short(default: object) -> str:
    return "null (no default is set)" if default is None else f"the default, {json.dumps(default)}"
