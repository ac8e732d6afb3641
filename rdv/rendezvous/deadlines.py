"""Computes when a request's answer is due, on this host's monotonic clock. Pure."""

from __future__ import annotations

from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule import SLA_MS_MAX

GRACE_NS = 4_000_000
"""The server decides at the SLA. Its result may take this long to reach the proxy, which then
answers the default itself: later than most results, well before SLA + 10 ms.
"""


def due_times_ns(request: Request, model: str, host: str, arrived_ns: int) -> tuple[int, int]:
    """Return when the request is due, and when this model's answer is wanted.

    The latter is the end of the model's turn, or the due time. The proxy puts the time that it will
    wait into `deadline_ms`. A request of another host, or of another boot, counts from its arrival
    here, because monotonic clocks of two machines are unrelated.
    """
    start_ns = request.monotonic_ns if request.host == host else arrived_ns
    wait_ms = request.deadline_ms
    if wait_ms is None or wait_ms > SLA_MS_MAX:
        wait_ms = SLA_MS_MAX
    due_ns = start_ns + int(wait_ms * 1e6)
    window_ms = request.windows_ms.get(model)
    if window_ms is None or window_ms >= wait_ms:
        return due_ns, due_ns
    return due_ns, start_ns + int(window_ms * 1e6)


def deadline_ns(request: Request, host: str, arrived_ns: int) -> int:
    """Return when the request is due, whichever model answers."""
    return due_times_ns(request, "", host, arrived_ns)[0]


def is_given_up(request: Request, host: str, now_ns: int) -> bool:
    """Return whether the proxy has answered the default by now, or is dead."""
    return deadline_ns(request, host, now_ns) + GRACE_NS < now_ns
