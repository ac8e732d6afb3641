"""A sink receives the outcomes, with one call per request."""

from __future__ import annotations

from typing import Literal, Protocol

Failed = Literal["connect", "lost", "timeout", "overflow", "garbage"]
"""connect: no connection could be made. lost: it ended before the answer. timeout: no answer in
time. overflow: the queue was full, nothing was sent. garbage: the answer was not HTTP.
"""


class Sink(Protocol):
    """Receives the outcome of each request. Called on the loop; must be quick.

    `number` is the one that was passed to the source, so that answers can be compared with
    requests.
    """

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        """Handle an answer of any status.

        `latency_ns` counts from the scheduled send, `service_ns` from the actual send.
        """

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        """Handle a request without an answer."""
