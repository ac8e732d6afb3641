"""A model's window is the time until which its answer is the wanted one, by its schedule. Pure."""

from __future__ import annotations

from rdv.schedule.model import OTHERS, Schedule


def windows_ms(schedule: Schedule) -> dict[str, float]:
    """Return the ends of windows that end before the schedule, in ms from the request's start.

    A model's window is the first step that accepts it by name. It ends with that step if a later
    step accepts other models, which have normally answered by then. An answer after that is better
    than none, but one in time is worth more: a worker that is behind must know.
    """
    ends = schedule.ends_ms()
    last_ms = max(ends)
    found: dict[str, float] = {}
    later: set[str] = set()
    for step, end_ms in zip(reversed(schedule.steps), reversed(ends), strict=True):
        accepted = set(step.accept)
        ends_turn = OTHERS not in accepted and not later <= accepted
        found.update(dict.fromkeys(step.accept, end_ms if ends_turn else last_ms))
        later |= accepted
    in_order = (name for step in schedule.steps for name in step.accept)
    return {name: found[name] for name in in_order if name != OTHERS and found[name] < last_ms}
