"""A call of gRPC, for the code that handles HTTP requests; and how a refusal looks in gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
import orjson

from rdv.clock import SYSTEM_CLOCK
from rdv.http import Failure
from rdv.http.forwarded import client_key
from rdv.serve.proxy.idempotency import GRPC_PATH
from rdv.serve.proxy.oip import Headers
from rdv.trace_context import TraceHeaders, read_trace

_OK = 200

MESSAGE_CHARACTERS_MAX = 1_000
"""The maximum length of a refusal's text: clients limit the size of metadata."""

_STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""The status of gRPC for each status of a refusal; INTERNAL for all others."""


class Call:
    """Is a call of ModelInfer to the code that handles HTTP requests. For the loop's thread.

    `body` is the message. The answer is a message as well, or the JSON of an error.
    """

    method = "POST"
    path = GRPC_PATH
    target = GRPC_PATH.encode()

    def __init__(self, body: bytes, context: Any) -> None:
        self.body = body
        self.client = client_key(_address(context.peer()))
        self.headers = _headers(context.invocation_metadata())
        self.trace = _trace_of(self.headers)
        self.connected = True
        self.received_ns = SYSTEM_CLOCK.monotonic_ns()
        self.token = ""
        """What the proxy finds the rows by when the client leaves."""
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[tuple[int, bytes, Headers]] = loop.create_future()

    def respond(self, status: int, body: bytes = b"", *, headers: Headers = ()) -> None:
        """Answer with a status of HTTP."""
        if not self._answered.done():
            self._answered.set_result((status, body, tuple(headers)))

    def fail(self, failure: Failure) -> None:
        """Answer with a refusal."""
        self.respond(failure.status, failure.body(), headers=failure.headers)

    async def answer(self, context: Any) -> bytes:
        """Wait for the answer and return it, or end the call with the refusal."""
        status, body, headers = await self._answered
        lines = tuple((name.decode().lower(), value.decode()) for name, value in headers)
        if status == _OK:
            context.set_trailing_metadata(lines)
            return body
        error = orjson.loads(body)["error"]
        return await abort(context, status, error["code"], error["message"], lines)


async def abort(
    context: Any, status: int, code: str, message: str, lines: tuple[tuple[str, str], ...] = ()
) -> NoReturn:
    """End a call with a refusal; its code and its headers go into the trailing metadata."""
    context.set_trailing_metadata((("rdv-code", code), *lines))
    await context.abort(
        _STATUSES.get(status, grpc.StatusCode.INTERNAL), message[:MESSAGE_CHARACTERS_MAX]
    )
    raise AssertionError  # abort has raised


def _headers(metadata: Any) -> dict[bytes, bytes]:
    """Return metadata as the headers of an HTTP request, repeated values joined."""
    found: dict[bytes, bytes] = {}
    for name, value in metadata or ():
        key, text = name.encode(), value if isinstance(value, bytes) else value.encode()
        found[key] = found[key] + b", " + text if key in found else text
    return found


def _trace_of(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Return the `trace` of a call as `TracedRequest` has it."""
    if b"traceparent" not in headers:
        return "", ""
    values = (headers.get(name, b"").strip() for name in (b"traceparent", b"tracestate"))
    return read_trace(TraceHeaders(*values))


def _address(peer: str) -> str:
    """Return the address in a peer's name: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`."""
    return unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")
