"""Sends messages to a collector by HTTP, and says what became of each. For one thread.

A time limit holds for a whole exchange: a collector that sends a byte now and then cannot hold it.
Source of what is sent again: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import ssl
import threading
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from rdv import __version__
from rdv.traces.settings import Destination, InvalidTraces

RETRYABLE = frozenset((429, 502, 503, 504))
TOO_LARGE = 413
RESPONSE_BYTES_MAX = 1024 * 1024
TEXT_CHARACTERS_MAX = 200

_FAILURES = (OSError, http.client.HTTPException, ValueError)
"""ValueError: a name that is none (UnicodeError of IDNA), an address of a proxy that is none."""


class Fate(Enum):
    """What became of a message."""

    TAKEN = auto()
    AGAIN = auto()
    """The collector is away or busy: send it again later."""
    TOO_LARGE = auto()
    REFUSED = auto()
    """It would be refused again."""


class Outcome(NamedTuple):
    """What became of a message, with the collector's answer or the reason."""

    fate: Fate
    body: bytes = b""
    reason: str = ""
    wait_s: float = 0.0
    """How long the collector asks to wait, in seconds; 0: it does not say."""


class Sender:
    """One connection to a collector, which is kept. Raises InvalidTraces for unusable files."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._parts = urlsplit(destination.url)
        self._context = _context(destination) if self._parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self._is_proxied = False
        self._headers = {
            "User-Agent": f"rdv/{__version__}",
            "Content-Type": "application/x-protobuf",
            **_credentials(self._parts.username, self._parts.password),
            **dict(destination.headers),
        }

    def send(self, message: bytes) -> Outcome:
        """Send a message, and wait for its answer at most as long as configured."""
        headers = dict(self._headers)
        if self._to.is_compressed:
            message = gzip.compress(message, 6)
            headers["Content-Encoding"] = "gzip"
        is_kept = self._connection is not None
        try:
            return self._exchange(message, headers)
        except _FAILURES as error:
            self.close()
            if not is_kept:
                return self._failed(error)
        try:  # a kept connection may have been closed meanwhile
            return self._exchange(message, headers)
        except _FAILURES as error:
            self.close()
            return self._failed(error)

    def _failed(self, error: Exception) -> Outcome:
        reason = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif isinstance(error, (ValueError, http.client.InvalidURL)):
            # Its text may show the password of a proxy.
            reason = "the host's name, or the address of the proxy, cannot be used"
        return Outcome(Fate.AGAIN, reason=f"{self._to.shown}: {reason}"[:TEXT_CHARACTERS_MAX])

    def _exchange(self, message: bytes, headers: dict[str, str]) -> Outcome:
        connection = self._connection or self._connect()
        self._connection = connection
        is_over = threading.Event()

        def end() -> None:
            is_over.set()
            if (sock := connection.sock) is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._to.timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            target = self._to.url if self._is_proxied else self._target()
            connection.request("POST", target, message, headers)
            response = connection.getresponse()
            body = response.read(RESPONSE_BYTES_MAX)
        except (OSError, http.client.HTTPException):
            if not is_over.is_set():
                raise
        finally:
            timer.cancel()
        if is_over.is_set():  # what was read until then may look like a whole answer
            raise TimeoutError(f"no answer within {self._to.timeout_s:g} s")
        if not response.isclosed() or response.will_close:
            self.close()
        return self._judged(response, body)

    def _target(self) -> str:
        query = f"?{self._parts.query}" if self._parts.query else ""
        return (self._parts.path or "/") + query

    def _judged(self, response: http.client.HTTPResponse, body: bytes) -> Outcome:
        status = response.status
        if 200 <= status < 300:  # noqa: PLR2004
            return Outcome(Fate.TAKEN, body)
        shown = "".join(c if c.isprintable() else " " for c in body.decode("utf-8", "replace"))
        said = (
            f": {shown.strip()}" if response.getheader("Content-Type", "").startswith("t") else ""
        )
        reason = f"{self._to.shown} answers {status} {response.reason}{said}"[:TEXT_CHARACTERS_MAX]
        if status in RETRYABLE:
            return Outcome(Fate.AGAIN, body, reason, _retry_after_s(response))
        return Outcome(Fate.TOO_LARGE if status == TOO_LARGE else Fate.REFUSED, body, reason)

    def _connect(self) -> http.client.HTTPConnection:
        parts, timeout_s = self._parts, self._to.timeout_s
        host, port = parts.hostname or "", parts.port
        proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
        self._is_proxied = False
        if proxy:
            via = urlsplit(proxy if "//" in proxy else f"//{proxy}")
            headers = {
                name.replace("Authorization", "Proxy-Authorization"): value
                for name, value in _credentials(via.username, via.password).items()
            }
            if self._context is None:
                self._is_proxied = True
                self._headers |= headers
                return http.client.HTTPConnection(via.hostname or "", via.port, timeout_s)
            tunnel = http.client.HTTPSConnection(
                via.hostname or "", via.port, timeout=timeout_s, context=self._context
            )
            tunnel.set_tunnel(host, port, headers)
            return tunnel
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._context)

    def close(self) -> None:
        """Close the connection; the next message opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    text = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}


def _context(destination: Destination) -> ssl.SSLContext:
    files = destination.certificate, destination.client_certificate, destination.client_key
    try:
        context = ssl.create_default_context(cafile=destination.certificate or None)
        if destination.client_certificate:
            context.load_cert_chain(destination.client_certificate, destination.client_key or None)
    except OSError as error:
        names = ", ".join(repr(name) for name in files if name)
        reason = f"the certificates in {names} cannot be used: {error.strerror or error}"
        raise InvalidTraces("OTEL_EXPORTER_OTLP_CERTIFICATE", reason) from error
    return context


def _retry_after_s(response: http.client.HTTPResponse) -> float:
    """Return what `Retry-After` asks for, in seconds; 0 when it says nothing that can be read."""
    text = response.getheader("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
