"""Why an answer is not the preferred one, in words. Off the hot path: preferred ones need none."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rdv.messages import Score, score_outcome
from rdv.rendezvous.mailbox import Mailbox

_DETAIL_MAX = 200
_NAMES_MAX = 8

EXPIRED = "expired on arrival"
OVERLOADED = "overloaded"


def why_fallback(box: Mailbox, dead: Collection[str]) -> str:
    """What was the matter with the champion."""
    champion = box.plan.champion
    return "" if champion is None else _state(champion, box, dead)


def why_default(box: Mailbox, at_ns: int, dead: Collection[str], live: Collection[str]) -> str:
    """Whom the schedule would have taken, and what was the matter with each of them."""
    named = {name: None for step in box.plan.steps for name in step.names}
    others = (*live, *box.arrived) if any(s.accepts_others for s in box.plan.steps) else ()
    states = [_state(name, box, dead) for name in dict.fromkeys((*named, *sorted(others)))]
    if at_ns < box.deadline_ns:
        return _joined("nobody is left to wait for", states)
    waited_ms = (box.deadline_ns - box.start_ns) / 1e6
    return _joined(f"no answer that would do by {waited_ms:g} ms", states)


def _joined(what: str, states: list[str]) -> str:
    if not states:
        return what
    more = f", and {len(states) - _NAMES_MAX} more" if len(states) > _NAMES_MAX else ""
    return f"{what}: {', '.join(states[:_NAMES_MAX])}{more}"


def _state(model: str, box: Mailbox, dead: Iterable[str]) -> str:
    report = box.arrived.get(model)
    if report is not None:
        return f"{model} {_report_text(report[1])}"
    return f"{model} is down" if model in dead else f"{model} has not answered"


def _report_text(score: Score) -> str:
    what: str = score_outcome(score)
    if what == "result":
        return "has answered"
    detail = score.error or score.detail
    return f"{what} ({detail[:_DETAIL_MAX]})" if detail else what
