"""Check a decision before anything is started, so that mistakes are named at once."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterable

from rdv.coded import ShowLine
from rdv.decision import Decision, missing_files
from rdv.decision.errors import InvalidDecision, ProgramNotFound
from rdv.decision.load import check_program
from rdv.decision.schedules import lint, lint_settings, read_schedule
from rdv.decision.traces import TracesMissing, are_exported, has_otlp
from rdv.errors import InputFault, SystemFault
from rdv.http.access import is_loopback
from rdv.http.authority import host_port
from rdv.rendezvous.schedule import SLA_MS_MAX, Schedule
from rdv.serve.supervisor.leftovers import left_behind
from rdv.system.processes import PortHolder, await_end, holder_of_port

PORT_TIMEOUT_S = SLA_MS_MAX / 1000 + 10.0
"""How many seconds to wait for a port. A proxy whose supervisor was killed answers its requests in
flight before it releases its port.
"""


class PortTaken(SystemFault):
    """The HTTP server cannot listen on its address."""

    host: str
    port: int
    reason: str
    holder: str = ""
    """The process that listens there, if known."""

    def text(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        return f"cannot listen on {host_port(self.host, self.port)}: {self.reason}{by}"

    _hint = "Give another one with --port, or set http.port in rdv.toml."


class GrpcMissing(InputFault):
    """The decision is to be served by gRPC, and grpcio is not installed."""

    file: str

    _text = "{file}: http.grpc_port needs grpcio, which is not installed"
    _hint = "pip install 'rdv[grpc]', or set http.grpc_port = 0."


def check(decision: Decision, warn: ShowLine) -> Schedule:
    """Return the live schedule. Raises what would keep everything from running; warns of more."""
    schedule = read_schedule(decision)
    for line in decision.warnings:
        warn(f"{decision.file}: {line}", "retired_key", decision.file)
    for finding in lint(decision, schedule, decision.scoring_models()):
        path = decision.schedule_path()
        warn(f"{path}: {finding.line()}", finding.code, path)
    for finding in lint_settings(decision):
        warn(f"{decision.file}: {finding.line()}", finding.code, decision.file)
    for fault in missing_files(decision):
        warn(fault.text(), fault.code(), fault.where)
    if decision.console.enabled:
        check_console_names(decision, decision.console.host)
    if decision.http.grpc_port and importlib.util.find_spec("grpc") is None:
        raise GrpcMissing(decision.file)
    if are_exported(decision.traces, os.environ) and not has_otlp():
        missing = TracesMissing()
        warn(f"{missing.text()}: {missing.hint()}", missing.code(), decision.file)
    for name, model in decision.models.items():
        try:
            check_program(decision, model)
        except ProgramNotFound as error:
            text = f"{decision.file}: models.{name}.command: {error.text()}"
            warn(text, error.code(), decision.file)
    return schedule


def check_console_names(decision: Decision, host: str) -> None:
    """Check that a console on `host` knows its names. Raises InvalidDecision.

    Where other machines can reach it, the decision must say by which names they call it.
    """
    if not is_loopback(host) and not decision.http.hosts:
        reason = (
            f"is empty, but the console's host {host!r} is open to other machines: list the names "
            'that they call it by, for example hosts = ["metrics.example", "10.0.0.5"]; '
            '"*" takes any name'
        )
        raise InvalidDecision(decision.file, "http.hosts", reason)


def claim_ports(
    directory: str, host: str, ports: Iterable[int], waiting: Callable[[str], None]
) -> None:
    """Check that all ports can be listened on. For the holder of the decision's lock only.

    Waits only for the end of a proxy that a killed `rdv serve` of the same decision has left
    behind, which still answers its requests in flight. Raises PortTaken.
    """
    give_up_s = time.monotonic() + PORT_TIMEOUT_S
    for port in ports:
        while (error := _why_not(host, port)) is not None:
            is_in_use = error.errno == errno.EADDRINUSE
            reason = "it is in use" if is_in_use else error.strerror or str(error)
            holder = holder_of_port(port) if is_in_use else None
            if holder is None or not _is_left_behind(holder, directory):
                raise PortTaken(host, port, reason, str(holder or ""))
            waiting(f"port {port}: waiting for {holder}, which a killed rdv serve has left behind")
            if not await_end(holder.pid, max(0.0, give_up_s - time.monotonic())):
                raise PortTaken(host, port, reason, str(holder))


def _is_left_behind(holder: PortHolder, directory: str) -> bool:
    """Return whether it is a proxy of this decision whose supervisor was killed."""
    return " component proxy " in holder.command and holder.pid in left_behind(directory)


def _why_not(host: str, port: int) -> OSError | None:
    """Return why the port cannot be listened on; None if it can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        return error
    return None
