"""Finds what an edit of rdv.toml changes, and what has to wait for the next `rdv serve`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rdv.config.decision import Decision
from rdv.config.fields import Effect, setting_fields

SECTIONS = ("http", "server", "log", "gate")


def changed_keys(before: Decision, after: Decision, *effects: Effect) -> list[str]:
    """Return the dotted keys that differ, in the file's order, with the given effects or all."""
    return [key for key, effect in _changed(before, after) if not effects or effect in effects]


def held_back(before: Decision, after: Decision) -> Decision:
    """Return `after`, but with the old values of keys that take effect at the next `rdv serve`."""
    kept: dict[str, object] = {}
    for section in ("", *SECTIONS):
        old, new = (decision_part(decision, section) for decision in (before, after))
        values = {f.name: getattr(old, f.name) for f in setting_fields(type(old)) if _waits(f)}
        if not section:
            kept.update(values)
        elif values:
            kept[section] = msgspec.structs.replace(new, **values)
    return after.replace(**kept)


def decision_part(decision: Decision, section: str) -> msgspec.Struct:
    """Return a section by its name; the decision itself for the keys above all sections."""
    part: msgspec.Struct = getattr(decision, section) if section else decision
    return part


def _waits(field: object) -> bool:
    return getattr(field, "effect", None) == "serve"


def _changed(before: Decision, after: Decision) -> Iterator[tuple[str, Effect | None]]:
    for section in ("", *SECTIONS):
        yield from _differing(
            decision_part(before, section), decision_part(after, section), section
        )
    for name in {**before.models, **after.models}:
        yield from _of_table(before.models.get(name), after.models.get(name), f"models.{name}")
    yield from _differing(before.cohorts, after.cohorts, "cohorts")
    groups, now = before.cohorts.groups, after.cohorts.groups
    for name in {**groups, **now}:
        yield from _of_table(groups.get(name), now.get(name), f"cohorts.{name}")


def _of_table(
    old: msgspec.Struct | None, new: msgspec.Struct | None, key: str
) -> Iterator[tuple[str, Effect | None]]:
    """Yield the changes of a table; a new or removed table is one change."""
    if old is not None and new is not None:
        yield from _differing(old, new, key)
    elif old is not new:
        yield key, "live"


def _differing(
    old: msgspec.Struct, new: msgspec.Struct, place: str
) -> Iterator[tuple[str, Effect | None]]:
    for field in setting_fields(type(old)):
        if getattr(old, field.name) != getattr(new, field.name):
            yield f"{place}.{field.name}" if place else field.name, field.effect
