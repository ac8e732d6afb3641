"""Check a decision before anything is started, so that mistakes are reported at once and by
name.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable

from rdv.decision import Decision, ScheduleNotFound, missing_files, schedule_names
from rdv.errors import RdvError
from rdv.rendezvous.schedule import SLA_MS_MAX, Schedule, lint_schedule, schedule_from_toml
from rdv.serve.supervisor.errors import PortTaken
from rdv.stream.file.disk import faults
from rdv.system.ports import await_end, holder_of_port, is_left_behind

PORT_PATIENCE_S = SLA_MS_MAX / 1000 + 10.0
"""How many seconds to wait for a port. A proxy whose supervisor was killed answers its requests in
flight before it releases its port.
"""
_IN_USE = "it is in use"


def read_schedule(decision: Decision, name: str = "") -> Schedule:
    """Return a schedule of the decision; without a name, the live one.

    Raises ScheduleNotFound, InvalidSchedule, SystemFaults.
    """
    name = name or decision.schedule
    known = schedule_names(decision.directory)
    if name not in known:
        raise ScheduleNotFound(decision.directory, name, known)
    path = decision.schedule_path(name)
    with faults(path, "read"), open(path, encoding="utf-8", errors="replace") as file:
        return schedule_from_toml(file.read(), name, path)


def retired_models(decision: Decision) -> list[str]:
    return [name for name, model in decision.models.items() if model.retired]


def check(decision: Decision, warn: Callable[[str], None]) -> Schedule:
    """Return the live schedule. Raises for what would keep everything from running; warns of the
    rest.
    """
    from rdv.commands.errors import ProgramNotFound
    from rdv.commands.model.settings import check_program

    schedule = read_schedule(decision)
    for line in decision.warnings:
        warn(f"{decision.file}: {line}")
    for finding in lint_schedule(schedule, decision.scoring_models(), retired_models(decision)):
        warn(f"{decision.schedule_path()}: {finding}")
    for fault in missing_files(decision):
        warn(fault.text())
    for name, model in decision.models.items():
        try:
            check_program(decision, model)
        except ProgramNotFound as error:
            warn(f"{decision.file}: models.{name}.command: {error.text()}")
    return schedule


def check_access(decision: Decision) -> None:
    """Raise InvalidDecision if other machines can reach the decision and http.hosts does not say
    how.
    """
    from rdv.serve.proxy.main import access_of

    access_of(decision)


def claim_ports(
    directory: str, host: str, ports: Iterable[int], waiting: Callable[[str], None]
) -> None:
    """Check that all ports can be listened on. For the holder of the decision's lock only.

    Waits only for the end of a proxy that a killed `rdv serve` of the same decision has left
    behind, which still answers its requests in flight. Raises PortTaken.
    """
    give_up_s = time.monotonic() + PORT_PATIENCE_S
    for port in ports:
        while reason := _why_not(host, port):
            holder = holder_of_port(port) if reason == _IN_USE else None
            if holder is None or not is_left_behind(holder, directory):
                raise PortTaken(host, port, reason, str(holder or ""))
            waiting(f"port {port}: waiting for {holder}, which a killed rdv serve has left behind")
            if not await_end(holder.pid, max(0.0, give_up_s - time.monotonic())):
                raise PortTaken(host, port, reason, str(holder))


def _why_not(host: str, port: int) -> str:
    """Return why the port cannot be listened on; empty if it can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        return _IN_USE if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return ""


_LABELS_MAX = 10_000


class SlaBook:
    """The SLA of schedules by their labels, as results name them."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._known: dict[str, float | None] = {}
        self._live_ms: float | None = None

    def find_ms(self, label: str) -> float | None:
        """Return the SLA in ms; None if the file has changed since, or is gone."""
        if label not in self._known:
            if len(self._known) >= _LABELS_MAX:
                self._known.clear()
            # A label appears after its file, so one that is not found now never will be.
            self._known[label] = None
            try:
                schedule = read_schedule(self._decision, label.partition("@")[0])
            except RdvError:
                return None
            self._known[schedule.label] = schedule.sla_ms
        return self._known[label]

    def sla_ms(self, label: str) -> float:
        """Return the SLA in ms; that of the live schedule for an unknown label (of an inline
        schedule).
        """
        found = self.find_ms(label)
        if found is None:
            if self._live_ms is None:
                self._live_ms = read_schedule(self._decision).sla_ms
            found = self._live_ms
        return found
