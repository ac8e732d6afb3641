"""Compute the shares of kinds of answers in a period, and when they have recovered. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

OK = 200
REFUSED = frozenset((408, 413, 422, 429, 503))
"""The request was not accepted, and the response said so."""


class Asked(NamedTuple):
    """The outcome of one request as its client saw it, with times by the client's clock."""

    port: int
    """The port of the proxy that the request was sent to."""
    due_ns: int
    done_ns: int
    status: int
    """The HTTP status; 0 if there was no answer."""
    failure: str = ""
    """connect, lost, timeout, overflow or garbage; garbled: a 200 that is not an answer."""
    id: str = ""
    kind: str = ""
    model: str | None = None
    answered_by: str = ""
    schedule: str = ""
    waited_ms: float = 0.0
    """Measured by the proxy's clock, from reading the request to writing its answer."""
    step: int = 0
    result: bytes = b""
    """The result; kept for defaults only."""

    @property
    def is_answered(self) -> bool:
        return self.status == OK and not self.failure

    @property
    def is_refused(self) -> bool:
        return self.status in REFUSED or self.failure in ("connect", "overflow")


class Mix(NamedTuple):
    """Shares of the requests of a period; the rest to 1 was refused or not answered."""

    requests: int = 0
    preferred: float = 0.0
    fallback: float = 0.0
    default: float = 0.0

    def __str__(self) -> str:
        if not self.requests:
            return "-"
        shares = (self.preferred, self.fallback, self.default)
        return "/".join(f"{100 * share:.0f}" for share in shares) + " %"


def mix_of(asked: Iterable[Asked]) -> Mix:
    """Return the mix of the kinds of answers."""
    count = 0
    kinds = dict.fromkeys(("preferred", "fallback", "default"), 0)
    for one in asked:
        count += 1
        if one.is_answered and one.kind in kinds:
            kinds[one.kind] += 1
    return Mix(count, *(number / count for number in kinds.values())) if count else Mix()


_MISSING = 0.01
"""How far the share of answers may be below what it was; beyond, a proxy does not accept yet."""

TOLERANCE = 0.15
"""How far a share may differ: a window is small, and a machine is never entirely idle."""
_CLOSE = 0.02


class Recovery:
    """Watch answers until the mix of the last `window` of them is what it was before.

    Requests that were due before `since_ns` do not count. Answers come in the order of their
    arrival.
    """

    def __init__(self, before: Mix, since_ns: int, window: int) -> None:
        self._before = before
        self._since_ns = since_ns
        self._last: deque[Asked] = deque(maxlen=max(1, window))

    def add(self, asked: Asked) -> bool:
        """Add an answer; return whether the mix is back. `begun_ns` then says since when."""
        if asked.due_ns < self._since_ns:
            return False
        self._last.append(asked)
        is_full = len(self._last) == self._last.maxlen
        return is_full and self._is_as_before(mix_of(self._last), TOLERANCE)

    @property
    def begun_ns(self) -> int:
        """When the recovered period began: the due time of the first request of the window from
        which on nothing was worse than before.

        What was still bad at the beginning of the window counts as part of the recovery.
        """
        window = sorted(self._last, key=lambda one: one.due_ns)
        for number, one in enumerate(window):
            if self._is_as_before(mix_of(window[number:]), _CLOSE):
                return one.due_ns
        return window[0].due_ns

    def _is_as_before(self, now: Mix, tolerance: float) -> bool:
        before = self._before
        answered = now.preferred + now.fallback + now.default
        was_answered = before.preferred + before.fallback + before.default
        return (
            now.preferred >= before.preferred - tolerance
            and now.default <= before.default + tolerance
            and answered >= was_answered - _MISSING
        )
