"""What a process of the hot path does to its interpreter once it has loaded everything."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""Messages hold no cycles and are freed by their counts; the collector is only there for what
exceptions and libraries leave behind, so it need not look after every 700 objects."""

MIDDLE, OLD = 20, 100


def tune_collector() -> None:
    """Leave what has been loaded alone for good, and look at the rest rarely.

    A full collection comes after 50,000 x 20 x 100 objects (and only when a quarter of them is
    new): with thousands of open mailboxes it would otherwise cost milliseconds at any time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE, OLD)
