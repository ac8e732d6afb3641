"""Decides which versions of a registered model are loaded, as its alias and the schedule say. Pure.

A model NAME that follows an alias has one version, or two: NAME and NAME-b. The live schedule
prefers one of the two, its champion here. When the alias names another version than that, this
version is loaded as the other one, which sees all of the traffic and asks for a promotion. A
promotion exchanges both in the schedule; the next version then takes the other place.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from rdv.decision.registry import Asked, RegistryState, second_name
from rdv.rendezvous.schedule import Schedule

DAY_NS = 86_400_000_000_000


def preferred(schedules: Sequence[Schedule], names: Sequence[str]) -> str:
    """Return which of `names` the schedules name first; empty when they name none.

    The live schedule comes first.
    """
    for schedule in schedules:
        for step in schedule.steps:
            for name in step.accept:
                if name in names:
                    return name
    return ""


def follow(  # noqa: PLR0911 - one return for each case
    state: RegistryState, name: str, wanted: str, champion: str, now_ns: int
) -> RegistryState:
    """Return the state of model `name` once the alias names version `wanted`.

    `champion` is NAME or NAME-b, as the schedule prefers; empty when it names neither: then nothing
    depends on the model, and it takes the new version at once.
    """
    versions, asked = state.versions, state.asked
    if not versions:
        names = [name, champion] if champion else [name]
        return replace(state, versions=dict.fromkeys(names, wanted), asked=None)
    if not champion:
        return replace(state, versions={name: wanted}, asked=None)
    if versions.get(champion) is None:  # its record was lost
        return replace(state, versions={**versions, champion: wanted}, asked=None)
    if versions[champion] == wanted:
        if asked is not None and asked.model != champion:
            return _withdrawn(state, asked)
        return replace(state, asked=None)
    other = second_name(name) if champion == name else name
    if asked is not None and (asked.model, asked.version, asked.over) == (other, wanted, champion):
        return state
    before = asked.replaced if asked is not None and asked.model == other else versions.get(other)
    new = Asked(model=other, version=wanted, over=champion, since_ns=now_ns, replaced=before or "")
    return replace(state, versions={**versions, other: wanted}, asked=new)


def _withdrawn(state: RegistryState, asked: Asked) -> RegistryState:
    """Return the state without what had asked: the alias names the champion's version again."""
    versions = {one: version for one, version in state.versions.items() if one != asked.model}
    if asked.replaced:
        versions[asked.model] = asked.replaced
    return replace(state, versions=versions, asked=None)


def is_to_judge(asked: Asked, scored: int, now_ns: int, requests_min: int, looks_max: int) -> bool:
    """Return whether the gate is to be asked about a version that has scored this many requests.

    The gate holds for a limited number of looks, so each comes after twice as many requests as the
    one before, or after a day.
    """
    if asked.looks >= looks_max or asked.verdict == "pass":
        return False
    if not asked.looks:
        return scored >= requests_min
    is_grown = scored >= 2 * asked.scored
    return is_grown or (scored > asked.scored and now_ns - asked.judged_ns >= DAY_NS)
