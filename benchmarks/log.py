"""Measure the log, against the bare system calls for the same bytes.

    python -m benchmarks.log [directory]

Every figure has its baseline from the same run: the machine may be noisy, the ratio matters.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.log_contention import contention
from benchmarks.log_large import large
from benchmarks.log_throughput import throughput
from benchmarks.log_wakeup import wakeup
from benchmarks.report import show


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    directory = Path(tempfile.mkdtemp(prefix="rdv-bench-", dir=parent))
    try:
        figures = throughput(directory)
        figures += contention(directory)
        figures += wakeup(directory)
        figures += large(directory)
    finally:
        shutil.rmtree(directory)
    show("The log, 300-byte values", figures)


if __name__ == "__main__":
    main()
