"""Cut time into windows of equal width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.sample import IntArray

WINDOWS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """`rows` of the given times are in [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    rows: slice

    @property
    def count(self) -> int:
        return int(self.rows.stop - self.rows.start)


def windows(
    time_ns: npt.ArrayLike, width_ns: int, *, start_ns: int | None = None, end_ns: int | None = None
) -> list[Window]:
    """Return windows over rising times, empty ones included; aligned to whole widths since 1970.

    Times before `start_ns` or not before `end_ns` are left out. Raises InvalidSample if the times
    do not rise or if there would be more than 10,000 windows.
    """
    times = _rising(time_ns)
    if width_ns < 1:
        raise InvalidSample("width", f"{width_ns} ns is not a width")
    if start_ns is None:
        start_ns = int(times[0]) if len(times) else 0
    if end_ns is None:
        end_ns = int(times[-1]) + 1 if len(times) else start_ns
    first, last = start_ns // width_ns, -(-end_ns // width_ns)
    if last - first > WINDOWS_MAX:
        raise InvalidSample(
            "width", f"makes {last - first} windows; at most {WINDOWS_MAX}, take a wider one"
        )
    edges = [min(max(n * width_ns, start_ns), end_ns) for n in range(first, max(first, last) + 1)]
    places = np.searchsorted(times, np.array(edges, dtype=np.int64), side="left").tolist()
    return [
        Window(edges[n], edges[n + 1], slice(places[n], places[n + 1]))
        for n in range(len(edges) - 1)
    ]


def _rising(time_ns: npt.ArrayLike) -> IntArray:
    times = np.asarray(time_ns)
    if times.ndim != 1 or (len(times) and not np.issubdtype(times.dtype, np.integer)):
        raise InvalidSample("time_ns", "must be a flat array of integers (nanoseconds)")
    times = times.astype(np.int64, copy=False)
    if bool(np.any(times[1:] < times[:-1])):
        raise InvalidSample("time_ns", "must not fall; sort the rows by time first")
    return times
