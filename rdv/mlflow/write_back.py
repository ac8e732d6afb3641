"""Writes promotions and rollbacks to the registry: tags of the versions, and the alias."""

from __future__ import annotations

import datetime as dt

from msgspec.structs import replace

from rdv.decision import Decision
from rdv.decision.registry import (
    WRITE_BACKS_MAX,
    RegistryState,
    RegistryUri,
    WriteBack,
    parse_uri,
    read_state,
)
from rdv.errors import RdvError
from rdv.mlflow.client import Registry
from rdv.mlflow.errors import NotInRegistry, RegistryRefused
from rdv.mlflow.fetch import registry_of
from rdv.mlflow.state import change_state

TAG_BYTES_MAX = 4_000


def promotion(
    decision: Decision, champion: str, challenger: str, verdict: str, schedule: str
) -> WriteBack | None:
    """Return what a promotion writes; None if the challenger is not from a registry."""
    new, old = decision.registered.get(challenger), decision.registered.get(champion)
    if new is None or not new.version:
        return None
    tags = {
        "rdv.promoted_at": _now(),
        "rdv.verdict": verdict,
        "rdv.decision": decision.name,
        "rdv.schedule": schedule,
        "rdv.over": champion if old is None else f"{champion} version {old.version}",
    }
    return _write_back(decision, champion, challenger, {new.version: tags}, to_new=True)


def rollback(decision: Decision, champion: str, challenger: str, why: str) -> WriteBack | None:
    """Return what a rollback writes, which takes the promotion of `challenger` back."""
    new = decision.registered.get(challenger)
    if new is None or not new.version:
        return None
    tags = {
        "rdv.rolled_back_at": _now(),
        "rdv.verdict": f"rolled back: {why}",
        "rdv.decision": decision.name,
    }
    return _write_back(decision, champion, challenger, {new.version: tags}, to_new=False)


def _write_back(
    decision: Decision,
    champion: str,
    challenger: str,
    tags: dict[str, dict[str, str]],
    *,
    to_new: bool,
) -> WriteBack:
    new, old = decision.registered[challenger], decision.registered.get(champion)
    uri = parse_uri(new.uri)
    other = None if old is None or not old.version else parse_uri(old.uri)
    is_same = other is not None and other.name == uri.name
    alias = _alias(uri, other if is_same else None)
    versions = [one.version for one in (new, old) if one is not None and (one is new or is_same)]
    before = old.version if old is not None and is_same else ""
    to = new.version if to_new else before
    kept = {
        version: {key: value[:TAG_BYTES_MAX] for key, value in found.items()}
        for version, found in tags.items()
    }
    return WriteBack(name=uri.name, tags=kept, alias=alias if to else "", to=to, unless=versions)


def _alias(new: RegistryUri, old: RegistryUri | None) -> str:
    """Return the alias that names the champion: that of the model that was one."""
    return (old.alias if old is not None else "") or new.alias


def record(decision: Decision, challenger: str, what: WriteBack) -> str:
    """Write to the registry, or keep it for `rdv serve` to write later; return what was done.

    Raises DecisionBusy, SystemFaults.
    """
    name = decision.registered[challenger].model
    uri = decision.registered[challenger].uri

    def change(state: RegistryState | None) -> RegistryState:
        state = state or RegistryState(uri=uri)
        waiting = [*state.write_backs, what][-WRITE_BACKS_MAX:]
        return replace(state, write_backs=waiting)

    state = change_state(decision.directory, name, change)
    try:
        with registry_of(decision, uri, None, state.tracking_uri) as registry:
            return "; ".join(write_pending(registry, decision.directory, name))
    except RdvError as error:
        return f"not written to the registry yet: {error.text()}; rdv serve tries again"


def write_pending(registry: Registry, directory: str, name: str) -> list[str]:
    """Write what waits, in order; return what was done. Raises what `Registry` raises."""
    done: list[str] = []
    while True:
        state = read_state(directory, name)
        if state is None or not state.write_backs:
            return done
        first = state.write_backs[0]
        done.append(_write(registry, first))

        def change(now: RegistryState | None, first: WriteBack = first) -> RegistryState:
            now = now or RegistryState(uri="")
            return replace(now, write_backs=[one for one in now.write_backs if one != first])

        change_state(directory, name, change)


def _write(registry: Registry, what: WriteBack) -> str:
    try:
        for version, tags in what.tags.items():
            for key, value in tags.items():
                registry.set_tag(what.name, version, key, value)
    except (NotInRegistry, RegistryRefused) as error:  # the version was deleted: it never works
        return f"not written to the registry: {error.text()}"
    tagged = " and ".join(f"{what.name} version {version}" for version in what.tags)
    if not what.alias:
        return f"tagged {tagged}"
    try:
        now = registry.version_of(RegistryUri(what.name, what.alias, "")).version
    except NotInRegistry:
        now = "none"
    if now == what.to:
        return f"tagged {tagged}; @{what.alias} names version {now}"
    if now not in (*what.unless, "none"):
        return f"tagged {tagged}; @{what.alias} names version {now} meanwhile, and stays"
    try:
        registry.set_alias(what.name, what.alias, what.to)
    except (NotInRegistry, RegistryRefused) as error:  # or its alias may not be set: as above
        return f"tagged {tagged}; @{what.alias} was not moved: {error.text()}"
    return f"tagged {tagged}; @{what.alias}: version {now} → {what.to}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
