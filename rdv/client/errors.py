"""Define the errors of the clients; `ClientError` is the root of all of them."""

from __future__ import annotations

from rdv.errors import InputFault, SystemFault


class ClientError(Exception):
    """A call of a client has failed: the root of InvalidCall, RequestRefused and NoAnswer."""

    status: int = 0
    """The HTTP status; 0 without a reply."""
    server_code: str = ""
    """The code that the server gave (CODES.md), or the client's own where there was no reply."""
    message: str = ""
    """What the server said, or what has gone wrong."""


class InvalidCall(ClientError, InputFault):
    """A client was made or called with something that cannot be sent."""

    message: str

    _text = "{message}"


class RequestRefused(ClientError, InputFault):
    """The server refuses this request, and would refuse it again: it must be changed first."""

    address: str
    status: int
    server_code: str
    message: str

    _text = "{address} refuses the request: {status} {server_code}: {message}"


class NoAnswer(ClientError, SystemFault):
    """No server answered in time: unreachable, too busy, stopping, or not an rdv server."""

    address: str
    status: int
    server_code: str
    message: str
    attempts: int = 1
    """How often the call was sent."""
    is_timeout: bool = False
    """Whether the caller's timeout was over."""

    _hint = "Is it running? rdv serve DIR"

    def text(self) -> str:
        times = "" if self.attempts == 1 else f" after {self.attempts} attempts"
        status = f"{self.status} {self.server_code}: " if self.status else ""
        return f"no answer from {self.address}{times}: {status}{self.message}"
