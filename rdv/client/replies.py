"""Translate replies and errors of httpx and httpcore into bodies and `Failed` attempts."""

from __future__ import annotations

from collections.abc import Mapping

import httpcore
import httpx

from rdv.client.calls import REPLY_BYTES_MAX, Failed, failure_of

_OK, _MORE = 200, 300

_NOT_SENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpcore.ConnectError, httpcore.ConnectTimeout,
)  # fmt: skip
_LATE = (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError)
_BROKEN = (
    httpx.NetworkError, httpx.ProtocolError, httpcore.NetworkError, httpcore.ProtocolError, OSError,
)  # fmt: skip


def understood(status: int, headers: Mapping[str, str], body: bytes) -> bytes | Failed:
    """Return the body of a reply that reports success, or why the attempt has failed."""
    return body if _OK <= status < _MORE else failure_of(status, headers, body)


def too_large(body: bytearray) -> Failed | None:
    """Return the failure of a reply that is too large for one of rdv; None while it is not."""
    if len(body) <= REPLY_BYTES_MAX:
        return None
    return Failed(f"the reply has more than {REPLY_BYTES_MAX:,} bytes", code="invalid_reply")


def failed_by(error: Exception) -> Failed | None:
    """Return what an error of the connection means; None for any other error."""
    if isinstance(error, _NOT_SENT):
        is_late = isinstance(error, _LATE)
        return Failed(f"it cannot be reached: {_said(error)}", "always", is_timeout=is_late)
    if isinstance(error, _LATE):
        return Failed("the timeout is over", code="timeout", is_timeout=True)
    if isinstance(error, _BROKEN):
        return Failed(f"the connection broke: {_said(error)}", "keyed", code="connection_broken")
    return None


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
