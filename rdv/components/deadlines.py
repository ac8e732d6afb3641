"""When a request's answer is due, on this host's monotonic clock. Pure."""

from __future__ import annotations

from rdv.messages import Request
from rdv.schedule import SLA_MS_MAX

GRACE_NS = 4_000_000
"""The server decides at the SLA. Its result may take this long to come to the proxy, which then
answers the default itself: later than most results, well before SLA + 10 ms."""


def due_times_ns(request: Request, model: str, host: str, arrived_ns: int) -> tuple[int, int]:
    """When the request is due, and by when this model's answer is wanted: then, or at the end of
    the model's turn.

    The proxy puts the time that it will wait into `deadline_ms`. A request of another host, or of
    another boot, counts from its arrival here: monotonic clocks of two machines have nothing to do
    with each other.
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
    """When the request is due, whoever answers."""
    return due_times_ns(request, "", host, arrived_ns)[0]


def is_given_up(request: Request, host: str, now_ns: int) -> bool:
    """Whether its proxy has answered it with the default by now, or is dead: nobody waits."""
    return deadline_ns(request, host, now_ns) + GRACE_NS < now_ns
