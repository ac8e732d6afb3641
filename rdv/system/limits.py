"""Limit what a process may use, and say how much it uses. For the process that calls."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(?:([KMGT])(i?)(B?)|B?)", re.ASCII | re.IGNORECASE)
FALLBACK_NICE = 10
"""The nice value of a model with `cpu_max` where its processor time cannot be limited."""
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return the bytes of a size such as "2GiB", "500MB" or "1048576". Pure. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a size, as "2GiB", "500MB" or "1073741824"')
    base = 1000 if match[4] and not match[3] else 1024  # as dd(1): GB is 1000**3, G and GiB 1024**3
    return int(float(match[1]) * base ** _POWERS.get((match[2] or "").lower(), 0))


def limit_memory(bytes_max: int) -> None:
    """Let this process gain at most `bytes_max` of memory; each one that it starts has that limit.

    0: no limit. What it has already is not counted. By RLIMIT_DATA (getrlimit(2)): private memory
    that can be written counts, mapped files and reserved addresses do not. Beyond, an allocation
    fails: Python raises MemoryError, C++ bad_alloc. On macOS the system does not enforce it.
    """
    if bytes_max <= 0:
        return
    bytes_max += _data_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        bytes_max = min(bytes_max, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (bytes_max, hard))


def _data_bytes() -> int:
    """Return what counts for the limit now; 0 where the system does not say."""
    try:
        with open("/proc/self/status", "rb") as file:
            found = re.search(rb"^VmData:\s+(\d+) kB", file.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def lower_priority(nice: int) -> None:
    """Raise this process's nice value by `nice`: others get the processor first."""
    if nice > 0:
        with contextlib.suppress(OSError):
            os.nice(nice)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
