"""These errors of the HTTP server are caused by the program; errors of a client are answers."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault, UsageFault


@dataclass(eq=False)
class InvalidLimit(InputFault):
    """A limit is not a number in its range."""

    key: str
    reason: str

    def text(self) -> str:
        return f"limit {self.key}: {self.reason}"


@dataclass(eq=False)
class AnsweredTwice(UsageFault):
    """The application answered one request twice; one of the answers belongs to another client."""

    method: str
    target: bytes

    def text(self) -> str:
        return f"{self.method} {self.target!r} was answered twice"


@dataclass(eq=False)
class InvalidHeader(UsageFault):
    """A response header would break the response apart (a line break, a NUL, no name)."""

    name: bytes
    value: bytes

    def text(self) -> str:
        return f"{self.name!r}: {self.value!r} cannot be sent as a response header"


@dataclass(eq=False)
class ServerStarted(UsageFault):
    """A server was started twice."""

    def text(self) -> str:
        return "this HttpServer has been started already; make another one"
