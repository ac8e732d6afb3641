"""Name what an edit has changed, as events: schedules, models, and other keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from rdv.coded import Coded
from rdv.codes import EventKind
from rdv.decision.accepted import Accepted, changed_keys
from rdv.decision.decision import Decision
from rdv.decision.events import Event

VALUE_CHARS_MAX = 80
"""How long a value may be in an event, in characters."""


def changes_of(before: Accepted, now: Accepted) -> Iterator[Event]:
    """Yield an event for each schedule and model that has changed, and one for all other keys."""
    yield from _schedules(before, now)
    yield from _models(before.decision, now.decision)
    changed = changed_keys(before.decision, now.decision)
    keys = [key for key in changed if not _has_event(key, before.decision, now.decision)]
    if keys:
        texts = [_change(key, before.decision, now.decision) for key in keys]
        yield Event(
            kind="settings_changed",
            message=f"in force now: {', '.join(texts)}",
            about=now.decision.file,
        )


def refusal_of(fault: Coded) -> Event:
    """Return the event of an edit that cannot be used."""
    is_schedule = "/schedules/" in fault.about
    return Event(
        kind="schedule_refused" if is_schedule else "settings_refused",
        code=fault.code,
        message=fault.text,
        about=fault.about,
    )


def _schedules(before: Accepted, now: Accepted) -> Iterator[Event]:
    was, live = before.decision.schedule, now.decision.schedule
    if was != live:
        yield _schedule(f"live schedule: {was} → {live}", before.live.label, now.live.label, now)
    for name in sorted({**before.schedules, **now.schedules}):
        old, new = before.schedules.get(name), now.schedules.get(name)
        labels = (old.label if old else "", new.label if new else "")
        if labels[0] == labels[1]:
            continue
        if old is None:
            text = f"schedule {labels[1]} is new"
        elif new is None:
            text = f"schedule {labels[0]} is gone"
        else:
            what = "live schedule" if name == live else "schedule"
            text = f"{what} {name}: {old.content_hash} → {new.content_hash}"
        yield _schedule(text, *labels, now, name)


def _schedule(text: str, before: str, after: str, now: Accepted, name: str = "") -> Event:
    path = now.decision.schedule_path(name) if name else now.decision.file
    return Event(kind="schedule_changed", message=text, about=path, before=before, after=after)


def _models(before: Decision, now: Decision) -> Iterator[Event]:
    for name in {**before.models, **now.models}:
        old, new = before.models.get(name), now.models.get(name)
        kind: EventKind
        if old is None and new is not None:
            kind, text = "model_added", "is added"
        elif new is None:
            kind, text = "model_removed", "is removed"
        elif old is not None and old.retired != new.retired:
            kind, text = "model_paused", "is retired: it is stopped"
            if old.retired:
                kind, text = "model_resumed", "is not retired any more: it is started"
        else:
            continue
        yield Event(kind=kind, message=f"{name} {text}", about=name, model=name)


def _has_event(key: str, before: Decision, now: Decision) -> bool:
    """Return whether a changed key has an event of its own."""
    if key == "schedule":
        return True
    section, _, rest = key.partition(".")
    is_whole = rest not in before.models or rest not in now.models
    return section == "models" and (key.endswith(".retired") or (is_whole and "." not in rest))


def _change(key: str, before: Decision, now: Decision) -> str:
    old, new = _value(before, key), _value(now, key)
    if old is None or new is None:
        return f"{key} {'is new' if old is None else 'is gone'}"
    return f"{key} {_shown(old)} → {_shown(new)}"


def _value(decision: Decision, key: str) -> Any:
    """Return the value of a dotted key; None if it does not exist."""
    value: Any = decision
    section, _, rest = key.partition(".")
    if section in ("models", "cohorts"):
        tables = decision.models if section == "models" else decision.cohorts.groups
        name = next((n for n in tables if rest == n or rest.startswith(f"{n}.")), None)
        if name is None:
            return getattr(decision.cohorts, rest, None) if section == "cohorts" else None
        value, key = tables[name], rest[len(name) + 1 :]
    for part in key.split(".") if key else []:
        value = getattr(value, part, None)
    return value


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[: VALUE_CHARS_MAX - 1]}…"
