"""Lists the files that the supervisor watches: rdv.toml, schedules, models and the enricher."""

from __future__ import annotations

import os

from rdv.config import Decision
from rdv.config.source import enricher_files, files_beside, settings_files


def watched_files(decision: Decision) -> list[str]:
    """Return the files whose edits matter, and the folders in which new files may appear."""
    models = decision.models.values()
    code = [decision.path(model.path) for model in models if model.path]
    words = [decision.path(word) for model in models for word in model.command]
    return [
        *settings_files(decision),
        *files_beside(code),
        *(path for path in words if os.path.isfile(path)),
        *enricher_files(decision),
        decision.path("models"),
    ]
