"""What the engine has seen, in numbers. They only grow."""

from __future__ import annotations

import msgspec


class Counters(msgspec.Struct):
    """Counts since the engine was made. Written by the engine's thread; a copy is for metrics."""

    requests: int = 0
    scores: int = 0
    preferred: int = 0
    fallback: int = 0
    default: int = 0

    expired_on_arrival: int = 0
    """Requests whose deadline had passed when they came."""

    overloaded: int = 0
    """Requests that found `open_mailboxes_max` others."""

    invalid_schedule: int = 0
    """Requests that named an unknown schedule, or carried one that is not valid."""

    duplicate_requests: int = 0
    duplicate_scores: int = 0
    """A second report of the same model on an open request: the first one counts."""

    late: int = 0
    """Scores that came after the decision: ordinary, most models are slower than the fastest."""

    early: int = 0
    """Scores that came before their request."""

    unknown: int = 0
    """Early scores whose request never came."""

    evicted: int = 0
    """Scores that were dropped for want of room: early ones, or more than `reports_max`."""

    malformed: int = 0
    """Records that could not be read, as the server has told."""
