"""The counters say what the engine has seen. They only grow."""

from __future__ import annotations

import msgspec


class Counters(msgspec.Struct):
    """A `Counters` has counts since the engine was made.

    The engine's thread writes them; metrics use a copy.
    """

    requests: int = 0
    scores: int = 0
    preferred: int = 0
    fallback: int = 0
    default: int = 0

    expired_on_arrival: int = 0
    """Requests whose deadline had passed when they arrived."""

    overloaded: int = 0
    """Requests that arrived when `open_mailboxes_max` others were open."""

    invalid_schedule: int = 0
    """Requests that named an unknown schedule, or carried an invalid one."""

    duplicate_requests: int = 0
    duplicate_scores: int = 0
    """Second reports of the same model on an open request: the first one counts."""

    late: int = 0
    """Scores that came after the decision: this is normal, most models are slower than the
    fastest.
    """

    early: int = 0
    """Scores that came before their request."""

    unknown: int = 0
    """Early scores whose request never came."""

    evicted: int = 0
    """Scores that were dropped for lack of space: early ones, or more than `reports_max`."""

    malformed: int = 0
    """Records that the server could not read, as it has reported."""
