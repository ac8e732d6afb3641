"""Keys that an older rdv knew and this one does not: they get a warning, not a refusal. Pure.

One table. A key that is taken out of a section goes in here in the same commit, so that an rdv.toml
of the version before goes on working.
"""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


class Retired(NamedTuple):
    """A key that has gone: since which version, and what to do about it."""

    since: str
    advice: str


RETIRED: dict[str, Retired] = {}
"""By dotted key, as in "http.example"; "models.*.example" is a key of every model."""


def find_retired(key: str) -> Retired | None:
    """What became of a dotted key; None when it never was one."""
    for pattern, retired in RETIRED.items():
        if fnmatchcase(key, pattern) and key.count(".") == pattern.count("."):
            return retired
    return None


def without_retired(table: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of an rdv.toml without the keys that have gone, and a warning for each of them."""
    kept, warnings = copy.deepcopy(table), list[str]()
    _take_out(kept, "", warnings)
    return kept, warnings


def _take_out(table: dict[str, Any], place: str, warnings: list[str]) -> None:
    for name in list(table):
        key = f"{place}.{name}" if place else name
        if (retired := find_retired(key)) is not None:
            del table[name]
            warnings.append(describe(key, retired))
        elif isinstance(table[name], dict):
            _take_out(table[name], key, warnings)


def describe(key: str, retired: Retired) -> str:
    """The warning."""
    return f"{key} has no effect since rdv {retired.since}: {retired.advice}"
