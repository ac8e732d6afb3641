"""Serve a decision in one process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOW = """
sla_ms = 20000
default = "late"
[[step]]
accept = ["gbm"]
"""


@contextmanager
def serving(
    directory: Path, port: int, call: str = "run_in_process(sys.argv[1])"
) -> Iterator[subprocess.Popen[str]]:
    """Serve a decision in one process, by `call` of rdv.serve.stages, for the time of a block."""
    code = f"import sys; from rdv.serve.stages import *; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", "import logging; logging.basicConfig(level=20); " + code, directory],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        process.said = []
        for line in process.stderr:
            process.said.append(line)
            if "listening" in line:
                break
        else:
            raise AssertionError("it did not start")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
