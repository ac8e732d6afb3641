"""Takes calls of `inference.GRPCInferenceService`, and answers them by the proxy's decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from rdv import __version__
from rdv.clock import SYSTEM_CLOCK
from rdv.http import Access, Limits
from rdv.http.forwarded import client_key
from rdv.oip.grpc_messages import MESSAGES, METHODS, SERVICE, read_infer, write_infer
from rdv.oip.metadata import EXTENSIONS, PLATFORM
from rdv.oip.tensor import InferResponse, OipError
from rdv.serve.proxy.oip import Headers, Inference
from rdv.serve.proxy.proxy import Proxy
from rdv.trace_context import TraceHeaders, read_trace

_STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""The status of gRPC for each status of a refusal; INTERNAL for all others."""


class _Call:
    """Represents the client of a call to the proxy, as an HTTP request does for its client."""

    __slots__ = ("client", "connected", "received_ns", "token", "trace")

    def __init__(self, client: str, trace: tuple[str, str]) -> None:
        self.client = client
        self.trace = trace
        self.connected = True
        self.received_ns = SYSTEM_CLOCK.monotonic_ns()
        self.token = ""


class GrpcServer:
    """Listens for calls. For one asyncio loop, which is the proxy's."""

    def __init__(
        self, inference: Inference, proxy: Proxy, is_ready: Callable[[], bool], limits: Limits
    ) -> None:
        self._inference = inference
        self._proxy = proxy
        self._is_ready = is_ready
        self._limits = limits
        self._server: Any = None
        self._calls = 0

    @property
    def connections_open(self) -> int:
        """Return the number of calls that are being answered; gRPC does not count connections."""
        return self._calls

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address with the actual port. Raises OSError."""
        size = self._limits.body_bytes_max
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", self._limits.connections_max),
            ),
            maximum_concurrent_rpcs=self._limits.connections_max,
        )
        handlers = {name: self._handler(name) for name in METHODS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(place)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await self._server.start()
        return host, bound

    def use(self, access: Access) -> None:
        """Ignore the rules about web pages: no browser can make such a call."""

    def change_limits(self, limits: Limits) -> None:
        """Keep the limits: gRPC applies those of the start."""

    async def drain(self, deadline_s: float) -> int:
        """Take no more calls, answer those in flight; return how many were cut off."""
        if self._server is None:
            return 0
        await self._server.stop(deadline_s)
        return self._calls

    def _handler(self, name: str) -> Any:
        method, parse = getattr(self, f"_{name}"), MESSAGES[f"{name}Request"].FromString

        async def answer(raw: bytes, context: Any) -> Any:
            try:
                request = parse(raw)
            except DecodeError as error:
                message = f"this is no {name}Request: {error}"
                await _abort(context, OipError(message, code="malformed_request"))
            return await method(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )

    async def _ServerLive(self, _: Any, __: Any) -> Any:  # noqa: N802 - the protocol's names
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _ServerReady(self, _: Any, __: Any) -> Any:  # noqa: N802
        return MESSAGES["ServerReadyResponse"](ready=self._is_ready())

    async def _ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._check(request.name, request.version, context)
        return MESSAGES["ModelReadyResponse"](ready=self._is_ready())

    async def _ServerMetadata(self, _: Any, __: Any) -> Any:  # noqa: N802
        return MESSAGES["ServerMetadataResponse"](
            name=PLATFORM, version=__version__, extensions=EXTENSIONS
        )

    async def _ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._check(request.name, request.version, context)
        info = self._inference.info(request.version)
        answer = MESSAGES["ModelMetadataResponse"](
            name=info.name, versions=info.versions, platform=PLATFORM
        )
        for tensors, into in ((info.inputs, answer.inputs), (info.outputs, answer.outputs)):
            for tensor in tensors:
                into.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return answer

    async def _ModelInfer(self, message: Any, context: Any) -> Any:  # noqa: N802
        await self._check(message.model_name, message.model_version, context)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[InferResponse | OipError] = loop.create_future()

        def respond(found: InferResponse | OipError, _: Headers) -> None:
            if not answered.done():
                answered.set_result(found)

        trace = _trace_of(context.invocation_metadata() or ())
        call = _Call(client_key(_address(context.peer())), trace)
        self._calls += 1
        try:
            request = read_infer(message)
            self._inference.infer(call, message.model_version, request, respond)
            found = await answered
        except OipError as error:
            found = error
        finally:
            self._calls -= 1
            call.connected = False
            self._proxy.gone(call)
        if isinstance(found, OipError):
            await _abort(context, found)
        return write_infer(found, is_binary=request.is_binary)

    async def _check(self, name: str, version: str, context: Any) -> None:
        try:
            self._inference.check(name, version)
        except OipError as error:
            await _abort(context, error)


async def _abort(context: Any, error: OipError) -> NoReturn:
    """End the call with the status of an error; its code goes into the trailing metadata."""
    context.set_trailing_metadata((("rdv-code", error.code),))
    await context.abort(_STATUSES.get(error.status, grpc.StatusCode.INTERNAL), error.message)
    raise AssertionError  # abort has raised


def _trace_of(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, str]:
    """Return the `trace` of a call as `TracedRequest` has it; repeated values are joined."""
    found: dict[str, bytes] = {}
    for name, value in metadata:
        if name in ("traceparent", "tracestate"):
            text = value if isinstance(value, bytes) else value.encode()
            found[name] = found[name] + b"," + text if name in found else text
    if not found:
        return "", ""
    values = (found.get(name, b"").strip() for name in ("traceparent", "tracestate"))
    return read_trace(TraceHeaders(*values))


def _address(peer: str) -> str:
    """Return the address in a peer's name: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`."""
    return unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")
