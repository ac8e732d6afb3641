"""Keys that newer versions have removed get a warning, not a refusal. Pure.

They are in one table. A commit that removes a key from a section adds it here, so that an rdv.toml
of the version before still works.
"""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


class Retired(NamedTuple):
    """Describes a key that was removed: since which version, and what to do about it."""

    since: str
    advice: str


RETIRED: dict[str, Retired] = {}
"""By dotted key, as in "http.example"; "models.*.example" is a key of every model."""


def find_retired(key: str) -> Retired | None:
    """Return the retirement of a dotted key; None when it is not retired."""
    for pattern, retired in RETIRED.items():
        if fnmatchcase(key, pattern) and key.count(".") == pattern.count("."):
            return retired
    return None


def without_retired(table: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of an rdv.toml without retired keys, and a warning for each of them."""
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
    """Return the warning."""
    return f"{key} has no effect since rdv {retired.since}: {retired.advice}"
