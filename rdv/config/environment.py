"""Reads settings from the environment: `RDV_HTTP_PORT=8200` is `http.port`. Pure.

The order of precedence is: the command line, `RDV_*`, `rdv.toml`, the default.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from rdv.config.convert import check_decision, make_decision
from rdv.config.decision import Decision
from rdv.config.errors import InvalidDecision
from rdv.config.fields import setting_fields
from rdv.config.retired import describe, find_retired
from rdv.config.sections import Http, Log, Server

WHERE = "environment"
_SECTIONS: dict[str, type[msgspec.Struct]] = {"http": Http, "server": Server, "log": Log}


def environment_names() -> dict[str, tuple[str, str]]:
    """Return every variable that is read, with the section ("" for none) and key that it sets."""
    names = {"RDV_SCHEDULE": ("", "schedule"), "RDV_PARTITIONS": ("", "partitions")}
    for section, kind in _SECTIONS.items():
        for field in setting_fields(kind):
            names[f"RDV_{section}_{field.name}".upper()] = (section, field.name)
    return names


def with_environment(decision: Decision, environ: Mapping[str, str]) -> Decision:
    """Return `decision` with its settings overridden by those of `environ`.

    An unknown variable with the prefix of a section (RDV_HTTP_, RDV_SERVER_, RDV_LOG_) is an error:
    a misspelt setting must not be ignored. Other variables are ignored. Raises InvalidDecision with
    the variable as its key.
    """
    known = environment_names()
    prefixes = tuple(f"RDV_{section}_".upper() for section in _SECTIONS)
    for variable, text in environ.items():
        if variable in known:
            decision = _override(decision, variable, *known[variable], text)
        elif variable.startswith(prefixes):
            if (gone := _retired(variable)) is not None:
                decision = decision.replace(warnings=(*decision.warnings, gone))
                continue
            near = difflib.get_close_matches(variable, known, 1)
            raise InvalidDecision(WHERE, variable, "no such setting", near[0] if near else "")
    check_decision(decision, WHERE)
    return decision


def _retired(variable: str) -> str | None:
    """Return a warning when the variable sets a retired key."""
    _, section, name = variable.split("_", 2)
    retired = find_retired(f"{section}.{name}".lower())
    return None if retired is None else describe(variable, retired)


def _override(decision: Decision, variable: str, section: str, key: str, text: str) -> Decision:
    """Apply one variable. The value is checked by the same rules as one in the file."""
    kind: type[msgspec.Struct] = _SECTIONS[section] if section else Decision
    field = {field.name: field for field in setting_fields(kind)}[key]
    value: Any = text
    if isinstance(field.default, int):
        digits = text.replace("_", "")
        value = int(digits) if digits.isdecimal() and digits.isascii() else text
    elif isinstance(field.default, float):
        with contextlib.suppress(ValueError):
            value = float(text)
    elif isinstance(field.default, list):
        value = [part.strip() for part in text.split(",") if part.strip()]
    table = {section: {key: value}} if section else {key: value}
    try:
        changed = make_decision(table, WHERE)
    except InvalidDecision as error:
        raise InvalidDecision(WHERE, variable, f"{text!r}: {error.reason}") from None
    if not section:
        return decision.replace(**{key: getattr(changed, key)})
    value = getattr(getattr(changed, section), key)
    now = msgspec.structs.replace(getattr(decision, section), **{key: value})
    return decision.replace(**{section: now})
