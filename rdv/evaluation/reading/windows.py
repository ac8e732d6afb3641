"""Cut a log into intervals of time, each with a bounded number of requests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rdv.evaluation.reading.source import Source

_SAMPLES = 16
"""How many append times are sampled for each window's worth of requests."""


def windows(
    sources: Sequence[Source], since_ns: int | None, until_ns: int | None, requests_max: int
) -> list[tuple[int | None, int | None]]:
    """Return consecutive bounds in append time, each of about `requests_max` requests at most.

    None is the beginning, or the end, of the log. Requests of the same instant stay together.
    """
    stride = max(1, requests_max // _SAMPLES // max(1, len(sources)))
    samples: list[int] = []
    total = 0
    for source in sources:
        start = source.begin if since_ns is None else source.offset_at(since_ns)
        stop = source.offset_at(until_ns)
        total += stop - start
        samples += [source.time_at(offset) for offset in range(start + stride, stop, stride)]
    if total <= requests_max:
        return [(since_ns, until_ns)]
    samples.sort()
    every = max(1, requests_max // stride - len(sources))
    cuts = sorted(set(samples[every - 1 :: every]))
    if since_ns is not None:
        cuts = [cut for cut in cuts if cut > since_ns]
    bounds = [since_ns, *cuts, until_ns]
    return list(pairwise(bounds))
