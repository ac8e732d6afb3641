"""Errors of the console."""

from __future__ import annotations

from rdv.errors import SystemFault
from rdv.http.authority import host_port


class ConsolePortTaken(SystemFault):
    """The console cannot listen on its address."""

    host: str
    port: int
    reason: str

    def text(self) -> str:
        where = host_port(self.host, self.port)
        return f"the console cannot listen on {where}: {self.reason}"

    _hint = "Give another one with --port, or set console.port in rdv.toml."
