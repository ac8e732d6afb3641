"""Errors of `rdv serve`."""

from __future__ import annotations

from rdv.errors import ConflictFault, SystemFault
from rdv.http.authority import host_port


class AlreadyServed(ConflictFault):
    """Another `rdv serve` runs the decision."""

    directory: str
    pid: int
    since: str

    def text(self) -> str:
        by = f"process {self.pid}" if self.pid else "another process"
        since = f" since {self.since}" if self.since else ""
        return f"{self.directory} is served already, by {by}{since}"

    def hint(self) -> str:
        look = f"See it: rdv status {self.directory}"
        return f"{look}  End it: kill {self.pid}" if self.pid else look


class DirectoryReplaced(ConflictFault):
    """The decision's directory is another one than `rdv serve` was started with."""

    directory: str

    _text = (
        "{directory} has been replaced by another directory (a rename, or a symlink that leads "
        "elsewhere now): rdv serve ends, so that the two are not mixed"
    )
    _hint = "Serve the new one: rdv serve {directory}"


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


class DoesNotStart(SystemFault):
    """An essential process has never come up."""

    name: str
    attempts: int

    def text(self) -> str:
        attempts = f"{self.attempts} attempts" if self.attempts > 1 else "its first attempt"
        return f"{self.name} has not come up in {attempts}: giving up"

    _hint = "Its last lines are above."
