"""Edits TOML text by whole lines, so that all other lines stay as they were written. Pure.

These functions work on lines, not on grammar; a text that misleads them (a header inside a
multi-line string) is caught by `rdv.config.edit`, which parses the result.
"""

from __future__ import annotations

import re
import tomllib

_SCHEDULE = re.compile(
    r"""^(?P<key>\s*(?:schedule|"schedule"|'schedule')\s*=\s*)
    (?:"[^"]*"|'[^']*')(?P<rest>\s*(?:\#.*)?)$""",
    re.VERBOSE,
)
_SHOWN_DEFAULT = re.compile(r"^#\s?schedule\s*=")


def with_schedule(text: str, value: str) -> str:
    """Return `text` with the root key `schedule` set to `value`, which is TOML already.

    The value is replaced where it stands; else the line that shows the default is activated; else a
    line is added at the top.
    """
    lines = text.split("\n")
    root = next((index for index, line in enumerate(lines) if _header(line)), len(lines))
    for index, line in enumerate(lines[:root]):
        ending = "\r" if line.endswith("\r") else ""
        if match := _SCHEDULE.match(line.removesuffix("\r")):
            lines[index] = f"{match['key']}{value}{match['rest']}{ending}"
            return "\n".join(lines)
    for index, line in enumerate(lines[:root]):
        if _SHOWN_DEFAULT.match(line):
            lines[index] = f"schedule = {value}" + ("\r" if line.endswith("\r") else "")
            return "\n".join(lines)
    return "\n".join([f"schedule = {value}", *lines])


def with_table(text: str, table: list[str]) -> str:
    """Return `text` with one more table at its end."""
    return "\n".join([*text.rstrip().split("\n"), "", *table]).lstrip("\n") + "\n"


def without_table(text: str, path: tuple[str, ...]) -> str:
    """Return `text` without the table [path]; comments before the next table stay with that one."""
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if _header(line) == path), None)
    if start is None:
        return text
    after = range(start + 1, len(lines))
    end = next((index for index in after if _header(lines[index])), len(lines))
    while end > start + 1 and _is_blank(lines[end - 1]):
        end -= 1
    kept_before = lines[:start]
    while (
        kept_before
        and not kept_before[-1].strip()
        and (end == len(lines) or not lines[end].strip())
    ):
        kept_before.pop()
    return "\n".join(kept_before + lines[end:]).rstrip("\n") + "\n"


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _header(line: str) -> tuple[str, ...]:
    """Return the path of a `[a.b]` line; empty for any other line."""
    if not line.lstrip().startswith("["):
        return ()
    try:
        table: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(table, dict) and len(table) == 1:
        key, table = next(iter(table.items()))
        path.append(key)
    return tuple(path)
