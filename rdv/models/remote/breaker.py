"""Decide when a server that keeps failing is not asked for a while. Pure: `now_ns` is an argument.

A breaker is closed while its server answers. It opens when at least half of the latest calls have
failed or have timed out. While it is open, nothing is sent. After a wait it lets one call through
at a time (half-open): an answer closes it, another failure opens it again for twice as long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

RECENT_MAX = 20
"""The number of latest calls that count."""
RECENT_NS = 10_000_000_000
"""Calls before this time do not count any more."""
CALLS_MIN = 5
"""With fewer calls than this there is no rate."""
FAILED_MIN = 0.5
"""The share of failed calls at which the breaker opens."""
WAIT_MS = 500
"""How long it is open the first time, in ms; each time in a row doubles it."""
WAIT_MS_MAX = 30_000

State = Literal["closed", "open", "half-open"]


class Ticket(NamedTuple):
    """Permits one call; it is given back once, with `ended` or `cancelled`."""

    series: int
    """The number of state changes before the call: what began in another state does not count."""


@dataclass
class Breaker:
    """Holds the state of one server. For one thread."""

    wait_ms: int = WAIT_MS
    wait_ms_max: int = WAIT_MS_MAX
    reason: str = ""
    """Why the last call that counted has failed; empty after an answer."""
    _recent: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    _series: int = 0
    _opened: int = 0
    """How often it has opened in a row."""
    _until_ns: int = 0
    _is_open: bool = False
    _is_probed: bool = False

    def state(self, now_ns: int) -> State:
        if not self._is_open:
            return "closed"
        return "half-open" if now_ns >= self._until_ns else "open"

    def allows(self, now_ns: int) -> bool:
        """Return whether a call may begin."""
        return not self._is_open or (now_ns >= self._until_ns and not self._is_probed)

    def allows_at_ns(self) -> int:
        """Return when a call may begin at the earliest; 0: now."""
        return self._until_ns if self._is_open else 0

    def begin(self, now_ns: int) -> Ticket:
        """Begin a call, which `allows` has permitted."""
        del now_ns
        if self._is_open:
            self._is_probed = True
        return Ticket(self._series)

    def cancelled(self, ticket: Ticket) -> None:
        """Give a ticket back: the call has ended without saying anything about the server."""
        if ticket.series == self._series:
            self._is_probed = False

    def ended(
        self, ticket: Ticket, now_ns: int, failure: str = "", retry_after_ms: int = 0
    ) -> bool:
        """Note how a call has ended; `failure` is empty for an answer. Return whether it opened.

        With `retry_after_ms` the server itself asks for a pause: then it opens at once.
        """
        if ticket.series != self._series:
            return False
        self._is_probed = False
        self._recent.append((now_ns, bool(failure)))
        if not failure:
            self._answered()
            return False
        self.reason = failure
        if self._is_open or retry_after_ms or self._fails(now_ns):
            self._open(now_ns, retry_after_ms)
            return True
        return False

    def _answered(self) -> None:
        self.reason = ""
        if self._is_open:
            self._is_open, self._opened = False, 0
            self._series += 1
            self._recent.clear()

    def _fails(self, now_ns: int) -> bool:
        while self._recent and self._recent[0][0] < now_ns - RECENT_NS:
            self._recent.popleft()
        failed = sum(failed for _, failed in self._recent)
        return len(self._recent) >= CALLS_MIN and failed >= FAILED_MIN * len(self._recent)

    def _open(self, now_ns: int, retry_after_ms: int) -> None:
        wait_ms = min(self.wait_ms << min(self._opened, 16), self.wait_ms_max)
        wait_ms = max(wait_ms, min(retry_after_ms, self.wait_ms_max))
        self._until_ns = now_ns + wait_ms * 1_000_000
        self._is_open, self._opened = True, self._opened + 1
        self._series += 1
        self._recent.clear()
