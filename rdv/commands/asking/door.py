"""Find where the proxies of a decision listen, and send one request to one of them."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass
from typing import Any

import orjson

from rdv.address import host_port, reachable_host
from rdv.commands.errors import Refused, Unreachable
from rdv.config import Decision
from rdv.stream.errors import NotPermitted
from rdv.supervisor.lock import holder_of

_OK = 200


@dataclass(frozen=True)
class Door:
    """The address of one proxy."""

    directory: str
    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    def unreachable(self, reason: str) -> Unreachable:
        return Unreachable(self.directory, str(self), reason)


def find_doors(decision: Decision) -> list[Door]:
    """Return the addresses of the running `rdv serve` (it may have been given options), else those
    of rdv.toml.
    """
    holder = None
    with contextlib.suppress(NotPermitted):
        holder = holder_of(decision.directory)
    host, port = decision.http.host, decision.http.port
    ports = [port + n for n in range(decision.http.proxies)]
    if holder is not None:
        host, ports = holder.host, holder.ports
    return [Door(decision.directory, reachable_host(host), port) for port in ports]


def post(door: Door, body: bytes, timeout_s: float) -> bytes:
    """Return the body of the response to `POST /v1/decide`. Raises Unreachable, Refused."""
    connection = http.client.HTTPConnection(door.host, door.port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/decide", body, headers)
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError:
        raise door.unreachable(f"nothing came within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise door.unreachable(reason.lower()) from None
    finally:
        connection.close()
    if response.status != _OK:
        raise refusal(response.status, answer)
    return answer


def ask_any(doors: list[Door], body: bytes, timeout_s: float) -> bytes:
    """Return the answer of the first proxy that can be reached. Raises Unreachable, Refused."""
    failure: Unreachable | None = None
    for door in doors:
        try:
            return post(door, body, timeout_s)
        except Unreachable as error:
            failure = failure or error
    assert failure is not None
    raise failure


def refusal(status: int, body: bytes) -> Refused:
    """Return the proxy's refusal with the code and message of the response, if it has them."""
    said: Any = {}
    try:
        said = orjson.loads(body)
        said = said.get("error", said)
        if isinstance(said, str):
            said = {"code": said}
        return Refused(status, str(said.get("code", "")), str(said.get("message", "")))
    except (orjson.JSONDecodeError, AttributeError):
        return Refused(status, "", body[:200].decode("utf-8", "replace"))
