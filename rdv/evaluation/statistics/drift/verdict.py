"""Decide whether the input or the model has changed.

The canary is a model that never changes and sees every request. If its scores move, the input has;
if a model's scores move and the canary's do not, the model has (Dunning & Friedman, *Machine
Learning Logistics*, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rdv.evaluation.statistics.drift.movement import Movement

Cause = Literal["too few", "steady", "input changed", "model changed", "canary changed"]

_SENTENCES: dict[Cause, str] = {
    "too few": "Too few scores to say.",
    "steady": "Neither model nor canary has moved.",
    "input changed": "The input changed: canary and model have moved together.",
    "model changed": "The model changed: it has moved and the canary has not.",
    "canary changed": (
        "Only the canary has moved: it is not the same canary, or the input changed in something "
        "that the model does not look at."
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` is for programs, `sentence` for people."""

    cause: Cause
    sentence: str


def judge(model: Movement | None, canary: Movement | None) -> Verdict:
    """Judge the movements of both in the same window, against the same reference window.

    They moved together if at least one has moved and the other is at least "stirred". A canary
    cannot see features that it does not use: "model changed" is where to look first, not a proof.
    """
    cause = _cause(model, canary)
    if cause == "too few" or model is None or canary is None:
        return Verdict(cause, _SENTENCES[cause])
    figures = f" PSI: model {model.psi.value:.2f}, canary {canary.psi.value:.2f}."
    return Verdict(cause, _SENTENCES[cause] + figures)


def _cause(model: Movement | None, canary: Movement | None) -> Cause:
    if model is None or canary is None or "too few" in (model.state, canary.state):
        return "too few"
    if "moved" not in (model.state, canary.state):
        return "steady"
    if canary.state == "still":
        return "model changed"
    return "canary changed" if model.state == "still" else "input changed"
