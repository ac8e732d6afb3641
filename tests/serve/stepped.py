"""Run rdv with a wall clock that is off by the seconds in FILE: `python stepped.py FILE ARGUMENTS`.

FILE holds the seconds as text of 16 characters. A test changes them in place, with effect at once.
Only the wall clock is off, as after a step of the machine's clock: monotonic time goes on.
"""

from __future__ import annotations

import mmap
import runpy
import sys
import time
from pathlib import Path

WIDTH = 16


def write_step(path: Path, seconds: int) -> None:
    """Set how far ahead the clock of the processes is that were started with `path`."""
    text = f"{seconds:{WIDTH}d}".encode()
    if path.exists():
        with path.open("r+b") as file:
            file.write(text)
    else:
        path.write_bytes(text)


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        step = mmap.mmap(file.fileno(), WIDTH, prot=mmap.PROT_READ)
    right_ns, right_s = time.time_ns, time.time
    time.time_ns = lambda: right_ns() + int(step[:]) * 10**9
    time.time = lambda: right_s() + int(step[:])
    sys.argv = ["rdv", *sys.argv[2:]]
    runpy.run_module("rdv", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
