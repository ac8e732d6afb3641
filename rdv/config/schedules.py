"""Reads the schedules of a decision's directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rdv.errors import RdvError
from rdv.schedule import InvalidSchedule, Schedule, schedule_from_toml

SUFFIX = ".toml"


@dataclass(frozen=True)
class Schedules:
    """Holds the valid schedules, and their files' texts; `faults` are the other files' errors."""

    by_name: Mapping[str, Schedule] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[RdvError, ...] = ()
    unreadable: frozenset[str] = frozenset()
    """The names of the files that are invalid."""


def schedules_directory(directory: str) -> str:
    return os.path.join(directory, "schedules")


def schedule_files(directory: str) -> list[str]:
    """Return the files of `DIR/schedules`, sorted. Raises OSError."""
    folder = schedules_directory(directory)
    return [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder))
        if name.endswith(SUFFIX) and name != SUFFIX and not name.startswith(".")
    ]


def read_schedules(directory: str) -> Schedules:
    """Read `DIR/schedules/*.toml`. Raises nothing: faults are in the result."""
    found: dict[str, Schedule] = {}
    texts: dict[str, str] = {}
    faults: list[RdvError] = []
    unreadable: set[str] = set()
    try:
        paths = schedule_files(directory)
    except OSError as error:
        folder = schedules_directory(directory)
        return Schedules(faults=(InvalidSchedule(folder, "", error.strerror or str(error)),))
    for path in paths:
        name = os.path.basename(path).removesuffix(SUFFIX)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            found[name], texts[name] = schedule_from_toml(text, name, path), text
        except FileNotFoundError:  # deleted meanwhile
            continue
        except (OSError, UnicodeDecodeError) as error:
            faults.append(InvalidSchedule(path, "", str(error)))
            unreadable.add(name)
        except InvalidSchedule as error:
            faults.append(error)
            unreadable.add(name)
    return Schedules(found, texts, tuple(faults), frozenset(unreadable))
