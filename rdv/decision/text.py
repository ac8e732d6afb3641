"""Writes a Decision as the text of an `rdv.toml`: every key commented. Pure.

A default is written as a comment without a space (`#port = 8100`), so that removing the `#` changes
nothing, and a newer rdv may have a better default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from rdv.decision.decision import SECTIONS, Cohort, Decision
from rdv.decision.model import ModelConfig
from rdv.decision.sections import Effect, Field, setting_fields

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_EFFECTS: dict[Effect | None, str] = {"serve": " (at the next rdv serve)"}
_HEADER = """\
# Settings of one decision. A commented key shows its default: remove the "#" to change it.
# Times are in milliseconds (…_ms), sizes in bytes (…_bytes).
# An edit takes effect at once, while the decision is served, unless the comment says otherwise.
# Precedence: command line, environment (RDV_HTTP_PORT=8200), this file, default.
"""


def default_text(name: str = "") -> str:
    """Return an `rdv.toml` in which every key has its comment and its default."""
    return decision_text(Decision(name=name))


def decision_text(decision: Decision) -> str:
    """Return an `rdv.toml` with the settings of `decision`."""
    lines = [_HEADER, *_settings(decision, setting_fields(Decision))]
    for section, kind in SECTIONS.items():
        lines += ["", "", f"[{section}]"]
        lines += _settings(getattr(decision, section), setting_fields(kind))
    lines += ["", "", *_models(decision.models), "", "", *_cohorts(decision)]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a plain value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)


def toml_key(name: str) -> str:
    """Return a name as a key: quoted when it has a dot."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def model_lines(name: str, model: ModelConfig) -> list[str]:
    """Return a [models.NAME] table with the values that differ from the defaults."""
    lines = [f"[models.{toml_key(name)}]"]
    for field in setting_fields(ModelConfig):
        value = getattr(model, field.name)
        if value != field.default:
            lines.append(f"{field.name} = {toml_value(value)}")
    return lines


def _settings(values: Any, fields: Iterable[Field]) -> list[str]:
    lines = []
    for field in fields:
        value = getattr(values, field.name)
        live = "" if value != field.default else "#"
        lines += [
            "",
            f"# {field.comment}{_EFFECTS.get(field.effect, '')}",
            f"{live}{field.name} = {toml_value(value)}",
        ]
    return lines[1:]


def _models(models: dict[str, ModelConfig]) -> list[str]:
    """Return one table per model, after a list of all keys of such a table."""
    lines = ["# The models. All of them see every request. Keys of a table [models.NAME]:"]
    for field in setting_fields(ModelConfig):
        lines += [f"#   {field.name} = {toml_value(field.default)}", f"#       {field.comment}"]
    for name, model in models.items():
        lines += ["", *model_lines(name, model)]
    return lines


def _cohorts(decision: Decision) -> list[str]:
    """Return [cohorts] and its tables, after a commented example of a table."""
    cohorts = decision.cohorts
    lines = [
        "# Groups of keys with another schedule (A/B tests). A key is always in the same group."
    ]
    lines += ["[cohorts]", *_settings(cohorts, setting_fields(type(cohorts)))]
    lines += ["", "# [cohorts.treatment]"]
    for field in setting_fields(Cohort):
        example = {"share": "0.1", "schedule": '"ab"'}.get(field.name, toml_value(field.default))
        lines.append(f"# {field.name} = {example}    # {field.comment}")
    for name, cohort in cohorts.groups.items():
        lines += ["", f"[cohorts.{toml_key(name)}]", f"share = {cohort.share!r}"]
        lines.append(f"schedule = {toml_value(cohort.schedule)}")
        if cohort.explore:
            lines.append(f"explore = {cohort.explore!r}")
        if cohort.models:
            lines.append(f"models = {toml_value(cohort.models)}")
    return lines
