"""Counts of a proxy in a small file that is mapped into memory, for the console.

The log does not know what it did not record: refused requests, unlogged ones, and how long clients
really waited. A proxy counts that here: no lock, and no system call per request. The file has its
place on the disk from the start, so that it works on a full disk, and it goes on where a killed
proxy has left it: counts never go back.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rdv.decision.decision import RUN_DIRECTORY

FOLDER = os.path.join(RUN_DIRECTORY, "proxies")
SUFFIX = ".counts"
_MAGIC = b"rdvcnt02"
COUNTS = (
    "requests", "refused", "preferred", "fallback", "default", "backstop", "late", "misses",
    "unlogged", "gone", "malformed", "connections_opened", "connections_refused", "http_refusals",
    "timeouts", "too_large", "unwritten",
)  # fmt: skip
"""Totals of all runs of the proxy."""
GAUGES = ("in_flight", "connections", "unrecorded")
"""What is now, by a proxy that has written in the last seconds."""
_TIMES_MS = (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 100, 150, 200, 300, 500,
             700, 1_000, 2_000, 5_000, 10_000, 60_000)  # fmt: skip
LATENCY_NS = tuple(int(ms * 1e6) for ms in _TIMES_MS)
"""The bounds of the latency's buckets, in ns."""
_AT_TIME = 1
_AT_COUNTS = 2
_AT_GAUGES = _AT_COUNTS + len(COUNTS)
_AT_SUM = _AT_GAUGES + len(GAUGES)
AT_LATENCY = _AT_SUM + 1
_CELLS = AT_LATENCY + len(LATENCY_NS) + 1
_BYTES = 8 * _CELLS
FRESH_NS = 5 * 10**9
"""Gauges that are older than this are of a proxy that has ended."""


class SharedCounts:
    """The counts of one proxy, in a file; in memory only where none can be made. One thread."""

    def __init__(self, directory: str, proxy: str) -> None:
        self.problem = ""
        """Why there is no file; usually empty."""
        try:
            self._map = _mapped(os.path.join(directory, FOLDER), proxy + SUFFIX)
        except OSError as error:
            self.problem = error.strerror or str(error)
            self._map = mmap.mmap(-1, _BYTES)
        self._cells = memoryview(self._map).cast("Q")
        self._map[:8] = _MAGIC
        self._base = list(self._cells[_AT_COUNTS:_AT_GAUGES])

    def answered(self, waited_ns: int) -> None:
        """Count an answer by how long its client has waited."""
        cells = self._cells
        cells[AT_LATENCY + bisect_left(LATENCY_NS, waited_ns)] += 1
        cells[_AT_SUM] += waited_ns

    def write(self, counts: Mapping[str, int], gauges: Mapping[str, int]) -> None:
        """Publish what this run of the proxy has counted so far, and what is now."""
        cells = self._cells
        for number, name in enumerate(COUNTS):
            cells[_AT_COUNTS + number] = self._base[number] + counts.get(name, 0)
        for number, name in enumerate(GAUGES):
            cells[_AT_GAUGES + number] = max(0, gauges.get(name, 0))
        cells[_AT_TIME] = time.time_ns()

    def close(self) -> None:
        self._cells.release()
        self._map.close()


class ProxyFigures(NamedTuple):
    """What one proxy, or several together, have counted."""

    counts: dict[str, int]
    gauges: dict[str, int]
    latency: list[int]
    """Answers up to each bound of LATENCY_NS, and longer than the one before; then all others."""
    latency_sum_ns: int

    def __add__(self, other: ProxyFigures) -> ProxyFigures:  # type: ignore[override]
        return ProxyFigures(
            {name: self.counts[name] + other.counts[name] for name in COUNTS},
            {name: self.gauges[name] + other.gauges[name] for name in GAUGES},
            [mine + theirs for mine, theirs in zip(self.latency, other.latency, strict=True)],
            self.latency_sum_ns + other.latency_sum_ns,
        )


NO_FIGURES = ProxyFigures(
    dict.fromkeys(COUNTS, 0), dict.fromkeys(GAUGES, 0), [0] * (len(LATENCY_NS) + 1), 0
)


class ProxyCounts:
    """Reads what all proxies of a decision have counted. One thread."""

    def __init__(self, directory: str) -> None:
        self._folder = os.path.join(directory, FOLDER)
        self._last: dict[str, tuple[int, ...]] = {}
        """The cells by file, as they were read last."""

    def read(self, now_ns: int) -> ProxyFigures:
        """Return the sums; of a file that cannot be read now, what it had before."""
        for name, data in _files(self._folder):
            if len(data) >= _BYTES and data[:8] == _MAGIC:
                self._last[name] = struct.unpack_from(f"={_CELLS}Q", data)
        total = NO_FIGURES
        for cells in self._last.values():
            total += _figures(cells, now_ns)
        return total


def _figures(cells: tuple[int, ...], now_ns: int) -> ProxyFigures:
    is_fresh = now_ns - cells[_AT_TIME] < FRESH_NS
    gauges = cells[_AT_GAUGES:_AT_SUM] if is_fresh else (0,) * len(GAUGES)
    return ProxyFigures(
        dict(zip(COUNTS, cells[_AT_COUNTS:_AT_GAUGES], strict=True)),
        dict(zip(GAUGES, gauges, strict=True)),
        list(cells[AT_LATENCY:]),
        cells[_AT_SUM],
    )


def _files(folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file that can be read."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(SUFFIX):
                with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as file:
                    yield name, file.read(_BYTES)


def _mapped(folder: str, name: str) -> mmap.mmap:
    """Return the file in memory, made if it is missing or of another form. Raises OSError."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.pread(fd, 8, 0) != _MAGIC or os.fstat(fd).st_size < _BYTES:
            os.ftruncate(fd, 0)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, _BYTES)
        else:
            os.ftruncate(fd, _BYTES)
        return mmap.mmap(fd, _BYTES)
    finally:
        os.close(fd)
