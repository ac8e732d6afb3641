"""Edits of a decision's directory, as they happen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from rdv.config import Decision


def watched_folders(decision: Decision) -> set[str]:
    """Where rdv.toml and the models' files are. The schedules are watched by who uses them."""
    folders = {decision.directory, decision.path("models")}
    for model in decision.models.values():
        for path in (model.path, *model.command):
            full = decision.path(path)
            if path and os.path.isfile(full):
                folders.add(os.path.dirname(full))
    return {os.path.abspath(folder) for folder in folders if os.path.isdir(folder)}


async def watch_edits(
    decision: Callable[[], Decision], edited: Callable[[], None], problem: Callable[[str], None]
) -> None:
    """Call `edited` after every edit. Ends only by being cancelled."""
    from watchfiles import awatch

    while True:
        folders = watched_folders(decision())
        stop = asyncio.Event()
        try:
            async for _ in awatch(
                *folders, recursive=False, debounce=100, step=20, stop_event=stop,
                ignore_permission_denied=True,
            ):  # fmt: skip
                edited()
                if watched_folders(decision()) != folders:
                    stop.set()
        except (OSError, RuntimeError) as error:
            problem(f"edits are not noticed from now on: {error}")
            return
