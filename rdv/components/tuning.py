"""What a process of the hot path does to its interpreter, and to its place in the system."""

from __future__ import annotations

import contextlib
import gc
import os
import resource

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


def give_way() -> None:
    """Wake up without taking the processor from who has it. For workers; Linux, where it is the
    policy SCHED_BATCH of sched(7).

    The champion's score is of no use before the server has it. A worker that is rung while the
    proxy still rings the others, or while the server decides, waits until these are done: that is
    5 to 10 % of the latency, and of the decisions a second. Server and proxy do take the processor
    from a model. Threads and processes that are started later give way, too. Who has set another
    policy by hand keeps it; not to be allowed to (a sandbox) is no reason to stop.
    """
    with contextlib.suppress(OSError):
        if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def allow_files(count: int) -> None:
    """Let this process open so many files, as far as the system's hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
