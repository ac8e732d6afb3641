"""Where outcomes go, one call a request."""

from __future__ import annotations

from typing import Literal, Protocol

Failed = Literal["connect", "lost", "timeout", "overflow", "garbage"]
"""connect: no connection could be made. lost: it ended before the answer. timeout: no answer in
time. overflow: the queue was full, nothing was sent. garbage: the answer was not HTTP."""


class Sink(Protocol):
    """Called on the loop for each request; must be quick. `number` is the one that the source
    was asked with, so that an answer can be held against what was asked.
    """

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        """An answer of any status: `latency_ns` from the scheduled, `service_ns` from the actual
        send.
        """

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        """No answer."""
