"""The process that the supervisor starts once an hour. It runs when nothing else needs the CPU."""

from __future__ import annotations

import os
import time

from rdv.analysis.digests.write import write_digests


def run_digests(directory: str, weeks: int, wait_ms: float) -> None:
    """Write what is missing. Raises what `write_digests` raises."""
    os.nice(19)
    write_digests(directory, weeks, time.time_ns(), wait_ms)
