"""The module replaces directories by rename, as deployment tools do, and edits a file in the new
one.
"""

from __future__ import annotations

import os
import re
import shutil

from rdv.config import Decision
from rdv.schedule import schedule_from_toml

_FOLDERS = ("models", "schedules")
_SLA = re.compile(r"(?m)^(\s*sla_ms\s*=\s*)(\d+(?:\.\d+)?)")


def replace_directories(decision: Decision) -> str:
    """Replace the directories by copies, then edit the live schedule in the new one.

    Returns the label of the edited schedule, or an empty string if its SLA is written in a way that
    cannot be edited here. Raises OSError.
    """
    for name in _FOLDERS:
        folder = decision.path(name)
        if os.path.isdir(folder):
            fresh, old = f"{folder}.fresh", f"{folder}.old"
            shutil.copytree(folder, fresh, symlinks=True)
            os.rename(folder, old)
            os.rename(fresh, folder)
            shutil.rmtree(old)
    return _edit(decision.schedule_path(), decision.schedule)


def _edit(path: str, name: str) -> str:
    """Make the SLA of the schedule one millisecond longer; return the new label, or ""."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    edited, count = _SLA.subn(lambda found: f"{found[1]}{float(found[2]) + 1:g}", text, count=1)
    if not count:
        return ""
    fresh = f"{path}.fresh"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(edited)
    os.replace(fresh, path)
    return schedule_from_toml(edited, name, path).label
