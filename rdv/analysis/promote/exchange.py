"""Exchange two models in a schedule's text: nothing else changes, comments stay. Pure.

Lines are edited without a TOML grammar; the result is parsed, and must be the intended schedule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec

from rdv.analysis.errors import CannotExchange
from rdv.rendezvous.schedule import (
    OTHERS,
    InvalidSchedule,
    Schedule,
    schedule_from_object,
    schedule_from_toml,
)
from rdv.rendezvous.schedule.model import content

_ACCEPT = re.compile(r"""^[ \t]*(?:accept|"accept"|'accept')[ \t]*=[ \t]*\[""", re.MULTILINE)
_PART = re.compile(r"""(?P<comment>\#[^\n]*)|(?P<name>"[^"\n]*"|'[^'\n]*')|(?P<end>\])""")
_quoted: Callable[[str], str] = json.dumps


def champion_of(schedule: Schedule) -> str | None:
    """Return the model that the schedule prefers first; None if that is any model."""
    first = schedule.steps[0].accept[0]
    return None if first == OTHERS else first


def exchange(text: str, name: str, champion: str, challenger: str, where: str = "") -> str:
    """Return the text of schedule `name` with both models exchanged.

    A challenger that the schedule does not name takes the champion's place; the champion then
    follows it, in all steps but the first that do not accept any model anyway. Raises
    CannotExchange, InvalidSchedule.
    """
    before = schedule_from_toml(text, name, where)
    meant = _meant(before, champion, challenger, where or name)
    lists = iter(step.accept for step in meant.steps)
    pieces: list[str] = []
    at = 0
    for match in _ACCEPT.finditer(text):
        if match.start() < at:
            continue
        names = next(lists, None)
        if names is None:
            break
        end, edited = _edited(text, match.end(), names)
        pieces += [text[at : match.end()], edited]
        at = end
    new = "".join([*pieces, text[at:]])
    if not _is(new, meant, name):
        raise CannotExchange(where or name, "it is written in a way that only a person should edit")
    return new


def _meant(before: Schedule, champion: str, challenger: str, where: str) -> Schedule:
    named = {model for step in before.steps for model in step.accept}
    if champion not in named:
        raise CannotExchange(where, f"it does not name {champion!r}")
    both = {champion: challenger, challenger: champion}
    if challenger in named:
        accepts = [[both.get(model, model) for model in step.accept] for step in before.steps]
    else:
        accepts = [
            _instead(step.accept, champion, challenger, is_first=number == 0)
            for number, step in enumerate(before.steps)
        ]
    plain = content(before)
    for step, accept in zip(plain["step"], accepts, strict=True):
        step["accept"] = accept
    return schedule_from_object(plain, before.name)


def _instead(accept: list[str], champion: str, challenger: str, *, is_first: bool) -> list[str]:
    if champion not in accept:
        return accept
    keeps = not is_first and OTHERS not in accept
    found: list[str] = []
    for model in accept:
        found += [challenger, *([champion] if keeps else [])] if model == champion else [model]
    return found


def _edited(text: str, at: int, names: list[str]) -> tuple[int, str]:
    """Return where the list ends, and its text with these names; an extra one follows another."""
    end, places = at, []
    for part in _PART.finditer(text, at):
        end = part.start()
        if part["end"]:
            break
        if part["name"]:
            places.append(part)
    was = [part["name"][1:-1] for part in places]
    grown = _grown(was, names)
    spans = [
        (part.span(), ", ".join(map(_quoted, group)))
        for part, group in zip(places, grown, strict=True)
    ]
    return end, _filled(text, at, end, spans)


def _grown(was: list[str], names: list[str]) -> list[list[str]]:
    """Group the names by the old names' places; one of the places gets two."""
    extra = len(names) - len(was)
    groups: list[list[str]] = []
    at = 0
    for number, old in enumerate(was):
        left = len(was) - number - 1
        take = 1
        if extra and (names[at] != old or left == 0):
            take, extra = 1 + extra, 0
        groups.append(names[at : at + take])
        at += take
    return groups


def _filled(text: str, at: int, end: int, spans: list[tuple[tuple[int, int], str]]) -> str:
    pieces = []
    for (first, last), new in spans:
        pieces += [text[at:first], new]
        at = last
    return "".join([*pieces, text[at:end]])


def _is(text: str, meant: Schedule, name: str) -> bool:
    try:
        found = schedule_from_toml(text, name)
    except InvalidSchedule:
        return False
    return bool(msgspec.to_builtins(found) == msgspec.to_builtins(meant))
