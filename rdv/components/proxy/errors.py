"""Errors of the proxy's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.address import host_port
from rdv.errors import InputFault, SystemFault


@dataclass(eq=False)
class EnricherNotLoaded(InputFault):
    """The function that `http.enrich` names cannot be loaded."""

    spec: str
    reason: str

    def text(self) -> str:
        return f"http.enrich = {self.spec!r}: {self.reason}"


@dataclass(eq=False)
class AddressTaken(SystemFault):
    """The proxy cannot listen on its address."""

    host: str
    port: int
    reason: str

    def text(self) -> str:
        return f"cannot listen on {host_port(self.host, self.port)}: {self.reason}"

    def hint(self) -> str:
        return "Set another http.port in rdv.toml, or end what listens there."
