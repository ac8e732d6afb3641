"""Find where the proxies of a decision listen, and send one request to one of them."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from rdv.decision.decision import Decision
from rdv.decision.holder import holder_of
from rdv.errors import InputFault, Unreachable
from rdv.http.authority import host_port, reachable_host
from rdv.retry_after import retry_after_ms
from rdv.stream.errors import NotPermitted

ANSWER_BYTES_MAX = 256 * 1024 * 1024
_CONNECT_S = 2.0
_OK = 200


class Refused(InputFault):
    """The proxy has refused the request, with the code and message of its response."""

    status: int
    proxy_code: str
    message: str
    faults: tuple[dict[str, str], ...] = ()
    """What of the data is invalid, with its path and reason."""
    retry_after_ms: int | None = None
    """The pause that the proxy asks for."""

    def code(self) -> str:
        return self.proxy_code or super().code()

    _text = "refused with {status} {proxy_code}: {message}"


@dataclass(frozen=True)
class ProxyAddress:
    """The address of one proxy."""

    directory: str
    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    def unreachable(self, reason: str) -> Unreachable:
        return Unreachable(self.directory, str(self), reason)


def find_proxies(decision: Decision) -> list[ProxyAddress]:
    """Return the addresses of the running `rdv serve`, else those of rdv.toml."""
    holder = None
    with contextlib.suppress(NotPermitted):
        holder = holder_of(decision.directory)
    host, port = decision.http.host, decision.http.port
    ports = [port + n for n in range(decision.http.proxies)]
    if holder is not None:
        host, ports = holder.host, holder.ports
    return [ProxyAddress(decision.directory, reachable_host(host), port) for port in ports]


def post(proxy: ProxyAddress, body: bytes, timeout_s: float) -> bytes:
    """Return the body of the response to `POST /v1/decide`. Raises Unreachable, Refused."""
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/decide", body, headers)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX + 1)
    except TimeoutError:
        raise proxy.unreachable(f"nothing came within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise proxy.unreachable(reason.lower()) from None
    finally:
        connection.close()
    if len(answer) > ANSWER_BYTES_MAX:
        raise proxy.unreachable(f"its answer has more than {ANSWER_BYTES_MAX:,} bytes")
    if response.status != _OK:
        raise refusal(response.status, answer, response.getheader("Retry-After", ""))
    return answer


def ask_any(proxies: list[ProxyAddress], body: bytes, timeout_s: float) -> bytes:
    """Return the answer of the first proxy that can be reached. Raises Unreachable, Refused."""
    failure: Unreachable | None = None
    for proxy in proxies:
        try:
            return post(proxy, body, timeout_s)
        except Unreachable as error:
            failure = failure or error
    assert failure is not None
    raise failure


def refusal(status: int, body: bytes, retry_after: str = "") -> Refused:
    """Return the proxy's refusal with the code and message of the response, if it has them."""
    pause_ms = retry_after_ms(retry_after)
    try:
        content: Any = orjson.loads(body)
        error = content.get("error", content)
        if isinstance(error, str):
            error = {"code": error}
        faults = error.get("faults", ())
        code, message = str(error.get("code", "")), str(error.get("message", ""))
        return Refused(status, code, message, tuple(faults), pause_ms)
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        text = body[:200].decode("utf-8", "replace")
        return Refused(status, "", text, retry_after_ms=pause_ms)


def listening(proxies: Sequence[ProxyAddress]) -> list[ProxyAddress]:
    """Return the addresses that accept connections. Raises Unreachable if there are none."""
    found, reason = [], ""
    for proxy in proxies:
        try:
            socket.create_connection((proxy.host, proxy.port), _CONNECT_S).close()
            found.append(proxy)
        except OSError as error:
            reason = reason or (error.strerror or str(error)).lower()
    if not found:
        raise proxies[0].unreachable(reason)
    return found
