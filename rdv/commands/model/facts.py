"""Show what is known about a model that was loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdv.commands.output import Output
from rdv.commands.units import about_size, milliseconds

if TYPE_CHECKING:
    from rdv.analysis.model_facts import Facts
    from rdv.models.columns import Column

COLUMNS_SHOWN = 12


def show_facts(facts: Facts, output: Output) -> None:
    """Print the facts for people, one a line."""
    for title, value in _lines(facts):
        output.text(f"  {title:<9} {value}")
    for note in facts.notes:
        output.note(note)
    if facts.failed:
        what = "a recorded request" if facts.rows == "recorded" else "a row made from its columns"
        output.note(f"it loads, but {what} had no result: {facts.failed}")
    if not facts.columns:
        output.note(
            "nothing is known about its columns: it may answer to any data, also to {}; "
            "declare what it needs in [schema]"
        )


def _lines(facts: Facts) -> list[tuple[str, str]]:
    lines = [
        ("kind", facts.kind),
        ("version", facts.version or "-"),
        ("loaded in", f"{milliseconds(facts.load_ms)}, {about_size(facts.memory_bytes)} of memory"),
    ]
    if facts.columns:
        lines.append(("columns", _columns(facts.columns)))
    if facts.row_ms is not None:
        first = "" if facts.first_ms is None else f" (the first {milliseconds(facts.first_ms)})"
        lines.append(("one row", f"{milliseconds(facts.row_ms)}{first}"))
        many = "not within its predict_timeout_ms"
        if facts.rows_100_ms is not None:
            many = milliseconds(facts.rows_100_ms)
        lines.append(("100 rows", many))
    return lines


def _columns(columns: list[Column]) -> str:
    shown = [f"{one.name} {one.type}" if one.type != "any" else one.name for one in columns]
    more = len(shown) - COLUMNS_SHOWN
    text = ", ".join(shown[:COLUMNS_SHOWN])
    return f"{text} and {more:,} more" if more > 0 else text


def schema_lines(columns: list[Column]) -> list[str]:
    """Return the lines of a [schema] section of rdv.toml for these columns. Pure."""
    from rdv.decision.text import toml_key, toml_value

    lines = ["", "[schema.columns]"]
    for one in columns:
        parts = [f"type = {toml_value(one.type)}"]
        if one.values:
            parts.append(f"values = {toml_value(one.values)}")
        if one.nullable:
            parts.append("nullable = true")
        elif not one.required:
            parts.append("required = false")
        # A dot in a name of [schema] leads into an object; the model's column is not one.
        name = one.name.replace("\\", "\\\\").replace(".", "\\.")
        lines.append(f"{toml_key(name)} = {{ {', '.join(parts)} }}")
    return lines
