"""Takes calls of `inference.GRPCInferenceService`, and answers them by the proxy's decisions."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from rdv import __version__
from rdv.clock import SYSTEM_CLOCK
from rdv.coded import coded
from rdv.errors import SystemFault
from rdv.http import Access, Failure, Limits
from rdv.oip.grpc_messages import (
    HEALTH_SERVICE,
    MESSAGES,
    METHODS,
    NOT_SERVED,
    SERVICE,
    read_infer,
    write_infer,
)
from rdv.oip.metadata import EXTENSIONS, PLATFORM
from rdv.oip.tensor import InferRequest, InferResponse, OipError, not_served
from rdv.serve.grpc.call import Call, abort
from rdv.serve.proxy.idempotency import IdempotencyKeys, IdempotencyMiddleware
from rdv.serve.proxy.oip import Headers, Inference
from rdv.serve.proxy.proxy import Proxy

log = logging.getLogger("rdv.proxy")

_SERVING, _NOT_SERVING = 1, 2


class NotListening(SystemFault):
    """The server with changed limits cannot listen."""

    reason: str

    _text = "cannot listen again: {reason}"


class GrpcServer:
    """Listens for calls. For one asyncio loop, which is the proxy's."""

    def __init__(
        self,
        inference: Inference,
        proxy: Proxy,
        is_ready: Callable[[], bool],
        repeats: IdempotencyKeys,
        limits: Limits,
    ) -> None:
        self._inference = inference
        self._proxy = proxy
        self._is_ready = is_ready
        self._keyed = IdempotencyMiddleware(self._decide, repeats, SYSTEM_CLOCK)
        self._limits = limits
        self._place = ""
        self._server: Any = None
        self._replacing: asyncio.Task[None] | None = None
        self._calls = 0

    @property
    def connections_open(self) -> int:
        """Return the number of calls that are being answered; gRPC does not count connections."""
        return self._calls

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address with the actual port. Raises OSError."""
        check_free(host, port)
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server, bound = await self._listen()
        return host, bound

    async def _listen(self) -> tuple[Any, int]:
        """Start a server with the present limits. Raises OSError."""
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", self._limits.body_bytes_max),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 1),  # the next server listens before this one stops
                ("grpc.max_concurrent_streams", self._limits.connections_max),
            ),
            maximum_concurrent_rpcs=self._limits.connections_max,
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, self._handlers()),
                grpc.method_handlers_generic_handler(
                    HEALTH_SERVICE, {"Check": self._handler("HealthCheck", self._health)}
                ),
            )
        )
        try:
            bound = server.add_insecure_port(self._place)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await server.start()
        return server, bound

    def use(self, access: Access) -> None:
        """Ignore the rules about web pages: no browser can make such a call."""

    def change_limits(self, limits: Limits) -> None:
        """Apply the limits to all calls from now on.

        gRPC takes limits at a server's start only. So another server takes over the address;
        clients connect to it by themselves, and this one answers the calls that it has.
        """
        before, self._limits = self._limits, limits
        is_same = before.body_bytes_max == limits.body_bytes_max
        if (is_same and before.connections_max == limits.connections_max) or self._server is None:
            return
        loop = asyncio.get_running_loop()
        self._replacing = loop.create_task(self._replace(self._replacing))

    async def _replace(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await earlier
        old = self._server
        try:
            self._server, _ = await self._listen()
        except OSError as error:
            fault = NotListening(str(error))
            log.warning("the limits of gRPC stay as they are: %s", fault.text(), extra=coded(fault))
            return
        await old.stop(self._limits.answer_timeout_ms / 1000)

    async def drain(self, deadline_s: float) -> int:
        """Take no more calls, answer those in flight; return how many were cut off."""
        if self._server is None:
            return 0
        await self._server.stop(deadline_s)
        if self._replacing is not None:
            await asyncio.wait([self._replacing], timeout=deadline_s)
        return self._calls

    # The methods of the protocol, with its names.

    def _handlers(self) -> dict[str, Any]:
        refused = {name: _refusing(name, extension) for name, extension in NOT_SERVED.items()}
        served = {name: self._handler(name, getattr(self, f"_{name}")) for name in METHODS}
        return {**refused, **served, "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer)}

    def _handler(self, name: str, method: Callable[[Any], Any]) -> Any:
        """Return the handler of a method that answers at once."""
        parse = MESSAGES[f"{name}Request"].FromString

        async def answer(raw: bytes, context: Any) -> Any:
            try:
                return method(_parsed(name, parse, raw)).SerializeToString()
            except OipError as error:
                return await abort(context, error.status, error.code, error.message)

        return grpc.unary_unary_rpc_method_handler(answer)

    def _ServerLive(self, _: Any) -> Any:  # noqa: N802 - the protocol's names
        return MESSAGES["ServerLiveResponse"](live=True)

    def _ServerReady(self, _: Any) -> Any:  # noqa: N802
        return MESSAGES["ServerReadyResponse"](ready=self._is_ready())

    def _ModelReady(self, request: Any) -> Any:  # noqa: N802
        self._inference.check(request.name, request.version)
        return MESSAGES["ModelReadyResponse"](ready=self._is_ready())

    def _ServerMetadata(self, _: Any) -> Any:  # noqa: N802
        return MESSAGES["ServerMetadataResponse"](
            name=PLATFORM, version=__version__, extensions=EXTENSIONS
        )

    def _ModelMetadata(self, request: Any) -> Any:  # noqa: N802
        self._inference.check(request.name, request.version)
        info = self._inference.info(request.version)
        answer = MESSAGES["ModelMetadataResponse"](
            name=info.name, versions=info.versions, platform=PLATFORM
        )
        for tensors, into in ((info.inputs, answer.inputs), (info.outputs, answer.outputs)):
            for tensor in tensors:
                into.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return answer

    def _RepositoryIndex(self, request: Any) -> Any:  # noqa: N802
        answer = MESSAGES["RepositoryIndexResponse"]()
        for line in self._inference.index(is_ready=self._is_ready(), only_ready=request.ready):
            answer.models.add(**line)
        return answer

    def _health(self, request: Any) -> Any:
        if request.service not in ("", SERVICE):
            raise OipError(f"there is no service {request.service[:100]!r}", 404, "not_found")
        return MESSAGES["HealthCheckResponse"](
            status=_SERVING if self._is_ready() else _NOT_SERVING
        )

    async def _infer(self, raw: bytes, context: Any) -> bytes:
        call = Call(raw, context)
        self._calls += 1
        try:
            self._keyed(call)  # type: ignore[arg-type]
            return await call.answer(context)
        finally:
            self._calls -= 1
            call.connected = False
            self._proxy.gone(call)

    def _decide(self, http: Any) -> None:
        """Decide what a call asks for; `http` is the call, or wraps it."""
        try:
            message = _parsed("ModelInfer", MESSAGES["ModelInferRequest"].FromString, http.body)
            self._inference.check(message.model_name, message.model_version)
            request = read_infer(message)
            self._inference.infer(
                http, message.model_version, request, partial(_respond, http, request)
            )
        except OipError as error:
            _respond(http, None, error, ())


def _respond(
    http: Any, request: InferRequest | None, found: InferResponse | OipError, headers: Headers
) -> None:
    if isinstance(found, OipError):
        failure = Failure(found.status, found.code, found.message)  # type: ignore[arg-type]
        http.respond(found.status, failure.body(), headers=headers)
    else:
        assert request is not None
        http.respond(200, write_infer(found, is_binary=request.is_binary).SerializeToString())


def _parsed(name: str, parse: Callable[[bytes], Any], raw: bytes) -> Any:
    """Return the message of a request. Raises OipError."""
    try:
        return parse(raw)
    except DecodeError as error:
        message = f"this is no {name}Request: {error}"
        raise OipError(message, code="malformed_request") from None


def _refusing(name: str, extension: str) -> Any:
    """Return the handler of a method that is not served."""
    error = not_served(extension, f"{name} is a method of it")

    async def refuse(_: Any, context: Any) -> None:
        await abort(context, error.status, error.code, error.message)

    if name == "ModelStreamInfer":
        return grpc.stream_stream_rpc_method_handler(refuse)
    return grpc.unary_unary_rpc_method_handler(refuse)


def check_free(host: str, port: int) -> None:
    """Raise OSError where another process listens: gRPC itself would share the port with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        pass
