"""Decide without one model: as if it had never been started, and no schedule named it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from rdv.analysis.whatif.arrivals import NEVER_KEY, Arrivals
from rdv.analysis.whatif.plans import Plans
from rdv.rendezvous.schedule import Schedule


def without_model(schedule: Schedule, name: str) -> Schedule:
    """Return the schedule without a model, and without the steps that accept nothing else.

    A schedule that accepts only this model stays as it is: the model is then known to be dead.
    """
    steps = []
    for step in schedule.steps:
        accept = [model for model in step.accept if model != name]
        if accept:
            need = step.need
            if isinstance(need, int) and not isinstance(need, bool):
                need = max(1, min(need, len(accept))) if "*" not in accept else need
            steps.append(msgspec.structs.replace(step, accept=accept, need=need))
    if not steps:
        return schedule
    last = steps[-1]
    if len(steps) == len(schedule.steps) or last.until_ms is None:
        return msgspec.structs.replace(schedule, steps=steps)
    # The last step was this model's alone: the one before it now goes on to the SLA.
    steps[-1] = msgspec.structs.replace(last, until_ms=schedule.steps[-1].until_ms)
    return msgspec.structs.replace(schedule, steps=steps)


def plans_without(plans: Plans, name: str) -> Plans:
    """Return all schedules without a model."""
    named = {own: without_model(schedule, name) for own, schedule in plans.named.items()}
    return Plans(without_model(plans.live, name), named)


def arrivals_without(arrivals: Arrivals, name: str) -> Arrivals:
    """Return the arrivals if a model had never been there."""
    if name not in arrivals.models:
        return arrivals
    row = arrivals.models.index(name)
    key, is_answer = arrivals.key.copy(), arrivals.is_answer.copy()
    is_live, is_dead = arrivals.is_live.copy(), arrivals.is_dead.copy()
    key[row], is_answer[row] = NEVER_KEY, np.False_
    is_live[row], is_dead[row] = False, True
    return replace(arrivals, key=key, is_answer=is_answer, is_live=is_live, is_dead=is_dead)
