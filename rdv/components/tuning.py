"""Tunes the interpreter and the scheduling of a process on the hot path."""

from __future__ import annotations

import contextlib
import gc
import os
import resource

YOUNG_OBJECTS = 50_000
"""Messages hold no cycles and are freed by reference counting; the collector is only needed for
what exceptions and libraries leave behind, so it need not run after every 700 objects.
"""

MIDDLE, OLD = 20, 100


def tune_collector() -> None:
    """Exclude all loaded objects from garbage collection, and collect the rest rarely.

    A full collection comes after 50,000 x 20 x 100 objects (and only when a quarter of them is
    new): with thousands of open mailboxes it would otherwise cost milliseconds at any time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE, OLD)


def give_way() -> None:
    """Do not preempt a running process on wake-up (SCHED_BATCH, sched(7)). For workers; Linux.

    The champion's score is of no use before the server has it. A worker that is notified while the
    proxy still notifies the others, or while the server decides, waits until these are done: that
    is worth 5 to 10 % of the latency, and of the decisions per second. Server and proxy do preempt
    a model. Threads and processes that are started later inherit the policy. A policy that was set
    by hand is kept; a lack of permission (a sandbox) is ignored.
    """
    with contextlib.suppress(OSError):
        if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def allow_files(count: int) -> None:
    """Let this process open `count` files, as far as the system's hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
