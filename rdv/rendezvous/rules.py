"""These functions answer a step's two questions: which models have won, and can any still win?

Pure; off the fastest path, which is one accepted answer in a step that needs one (`Engine.score`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from msgspec import UNSET

from rdv.messages import Score
from rdv.rendezvous.mailbox import Mailbox
from rdv.rendezvous.plan import NOT_ACCEPTED, PlanStep


def find_winners(box: Mailbox, live: AbstractSet[str]) -> list[Score]:
    """Return the answers that the step takes, best rank first; empty while there are too few.

    Of equal rank (all that "*" stands for), the earlier one is better.
    """
    step, arrived = box.step, box.arrived
    ranked = [
        (rank, order, score)
        for order, (_, score) in enumerate(arrived.values())
        if score.result is not UNSET and (rank := step.rank(score.model)) != NOT_ACCEPTED
    ]
    if not ranked or len(ranked) < _needed(step, live, arrived.keys()):
        return []
    return [score for _, _, score in sorted(ranked, key=lambda item: item[:2])]


def is_hopeless(box: Mailbox, live: AbstractSet[str], dead: AbstractSet[str]) -> bool:
    """Return whether the step cannot get the answers that it needs any more, however long it waits.

    It can while enough of the models that it accepts have answered, or may yet: they have not
    reported and are not known to be dead. A step that accepts any model is not given up while no
    model is known.
    """
    step, arrived = box.step, box.arrived
    if step.accepts_others:
        if not live and not dead:
            return False
    elif step.is_single and not arrived and dead.isdisjoint(step.names):
        return False  # the usual start of a step
    candidates = step.candidates(live, arrived.keys())
    possible = sum(
        name not in dead if (report := arrived.get(name)) is None else _is_answer(report[1])
        for name in candidates
    )
    return possible < step.needed(len(candidates))


def _needed(step: PlanStep, live: AbstractSet[str], reported: AbstractSet[str]) -> int:
    if step.is_single:
        return 1
    return step.needed(len(step.candidates(live, reported)))


def _is_answer(score: Score) -> bool:
    return score.result is not UNSET
