"""When a request's answer is due, on this host's monotonic clock. Pure."""

from __future__ import annotations

from rdv.messages import Request

DEADLINE_MS_MAX = 60_000.0


def deadline_ns(request: Request, host: str, arrived_ns: int) -> int:
    """The proxy puts the time that it will wait into `deadline_ms`.

    A request of another host, or of another boot, counts from its arrival here: monotonic clocks
    of two machines have nothing to do with each other.
    """
    start_ns = request.monotonic_ns if request.host == host else arrived_ns
    wait_ms = request.deadline_ms if request.deadline_ms is not None else DEADLINE_MS_MAX
    return start_ns + int(min(wait_ms, DEADLINE_MS_MAX) * 1e6)
