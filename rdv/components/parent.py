"""Ending with the parent: a component that the supervisor started must not outlive it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

PARENT_PIPE = "RDV_PARENT_PIPE"


def stop_without_parent(stop: Callable[[], None]) -> None:
    """Call `stop`, from a thread, when the supervisor is gone: then our stdin ends.

    Does nothing when a person has started the process.
    """
    if not os.environ.pop(PARENT_PIPE, ""):
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="rdv-parent", daemon=True).start()
