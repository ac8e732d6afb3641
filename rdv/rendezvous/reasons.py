"""Why an answer is not the preferred one: a `Reason` is a code and a sentence. Off the hot path."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from rdv.codes import ResultCode
from rdv.rendezvous.messages import Outcome, Score, score_outcome

if TYPE_CHECKING:
    from rdv.rendezvous.mailbox import Mailbox

DETAIL_CHARACTERS_MAX = 120
"""The maximum length of a model's own text; the whole text is in the scores stream."""

_NAMES_MAX = 8


_CHAMPION_CODES: dict[Outcome, ResultCode] = {
    "result": "step_1_missed",
    "behind": "champion_behind",
    "expired": "champion_expired",
    "not sampled": "champion_not_asked",
    "unavailable": "champion_unavailable",
    "error": "champion_failed",
    "bad input": "champion_bad_input",
}


class Reason(NamedTuple):
    """A `Reason` says why an answer is not the preferred one."""

    code: ResultCode
    text: str


PREFERRED = Reason("", "")
EXPIRED = Reason("expired", "expired on arrival")
OVERLOADED = Reason("overloaded", "overloaded")


def why_fallback(box: Mailbox, dead: Collection[str]) -> Reason:
    """Return why the first choice did not give the answer.

    That is the champion, or the first of the models that the request asked for itself.
    """
    first = box.plan.first_choice_name(box.left_out)
    if first is None:
        return first_step_missed(box)
    code: ResultCode = "champion_down" if first in dead else "champion_late"
    if (report := box.arrived.get(first)) is not None:
        code = _CHAMPION_CODES[score_outcome(report[1])]
    return Reason(code, _state(first, box, dead))


def first_step_missed(box: Mailbox) -> Reason:
    """Return that the first step with models that are asked did not get the answers it needs."""
    number, _ = box.plan.first_choice(box.left_out)
    return Reason("step_1_missed", f"step {number} did not get the answers that it needs")


def why_bad_input(score: Score) -> Reason:
    """Return why a judge's refusal of the data ends the decision."""
    detail = shortened(score.detail)
    text = f"{score.model} says that the input is invalid"
    return Reason("bad_input", f"{text}: {detail}" if detail else text)


def why_default(box: Mailbox, at_ns: int, dead: Collection[str], live: Collection[str]) -> Reason:
    """Return why there is no answer: the models that would do, with each one's state."""
    states = [_state(name, box, dead) for name in _wanted(box, dead, live)]
    if at_ns < box.deadline_ns:
        return Reason("no_model_left", _joined("no model is left to wait for", states))
    waited_ms = (box.deadline_ns - box.start_ns) / 1e6
    text = _joined(f"no accepted answer within {waited_ms:g} ms", states)
    return Reason("no_answer_in_time", text)


def _wanted(box: Mailbox, dead: Collection[str], live: Collection[str]) -> list[str]:
    """Return the models that the steps name, by rank; after them those that "*" stands for.

    Of the latter, first those that have reported, then those that are up. Dead ones are listed only
    when there are no others: they may have been gone for long. Models that the request itself left
    out are listed only when the steps name no others.
    """
    steps = box.plan.steps
    named = dict.fromkeys(name for step in steps for name in step.names)
    named = {name: None for name in named if name not in box.left_out} or named
    if not any(step.accepts_others for step in steps):
        return list(named)
    others = dict.fromkeys((*box.arrived, *sorted(live)))
    unnamed = [name for name in others if name not in named]
    return [*named, *(unnamed or (name for name in sorted(dead) if name not in named))]


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
    detail = shortened(score.error or score.detail or "")
    return f"{what} ({detail})" if detail else what


def shortened(text: str) -> str:
    """Return the first line that is not blank, of at most DETAIL_CHARACTERS_MAX characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= DETAIL_CHARACTERS_MAX:
        return line
    return line[: DETAIL_CHARACTERS_MAX - 1].rstrip() + "…"
