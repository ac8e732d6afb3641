"""The two questions that a step asks of a mailbox: who has won, and can anybody still win?

Pure; off the fastest path, which is one accepted answer in a step that needs one (`Engine.score`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from msgspec import UNSET

from rdv.messages import Score
from rdv.rendezvous.mailbox import Mailbox
from rdv.rendezvous.plan import NOT_ACCEPTED, PlanStep


def find_winners(box: Mailbox, live: AbstractSet[str]) -> list[Score]:
    """The answers that the mailbox's step takes, best rank first; none while they do not suffice.

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
    """Whether the step cannot get what it needs any more, however long it waits.

    It can while enough of those whom it accepts have answered, or may yet: have not reported and
    are not known to be dead. A step that accepts anybody is not given up while nobody is known.
    """
    step, arrived = box.step, box.arrived
    if step.accepts_others:
        if not live and not dead:
            return False
    elif step.is_single and not arrived and dead.isdisjoint(step.names):
        return False  # the ordinary start of a step
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
