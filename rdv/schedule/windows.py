"""Until when a model's answer is the one that is wanted, as its schedule has it. Pure."""

from __future__ import annotations

from rdv.schedule.model import OTHERS, Schedule


def windows_ms(schedule: Schedule) -> dict[str, float]:
    """For each model whose turn ends before the schedule does: when, from the request's start.

    A model's turn is the first step that accepts it by name, and ends with it if a later step
    accepts somebody else, who has answered by then, if all goes well. An answer after that is
    better than none, but one in time is worth more: a worker that is behind must know.
    """
    ends = schedule.ends_ms()
    found: dict[str, float] = {}
    for number, step in enumerate(schedule.steps):
        later = {name for after in schedule.steps[number + 1 :] for name in after.accept}
        if OTHERS not in step.accept and not later <= set(step.accept):
            for name in step.accept:
                found.setdefault(name, ends[number])
        else:
            for name in step.accept:
                found.setdefault(name, max(ends))
    return {name: end for name, end in found.items() if name != OTHERS and end < max(ends)}
