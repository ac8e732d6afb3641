"""Receive spans by OTLP over HTTP on a real socket, as well or as badly as a test wants."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from waiting import wait_until


class Call:
    """One request to the collector, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.handler, self.body = handler, body
        self.path, self.headers = handler.path, handler.headers
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        raw = gzip.decompress(body) if is_packed else body
        self.message = ExportTraceServiceRequest.FromString(raw)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for resource in self.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resource(self) -> dict[str, str]:
        found = self.message.resource_spans[0].resource.attributes
        return {one.key: one.value.string_value for one in found}

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def accept(self, rejected: int = 0, message: str = "") -> None:
        answer = ExportTraceServiceResponse()
        if rejected:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = message
        self.answer(200, answer.SerializeToString())

    def hang(self) -> None:
        """Wait until the client closes the connection, or the test ends."""
        while self.handler.connection.recv(1024):
            pass
        self.handler.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: tests kill the clients."""


class Collector:
    """Listen on a free port; `behaviour` answers each request, and may be replaced."""

    def __init__(self, behaviour: Callable[[Call], None] = Call.accept) -> None:
        self.behaviour = behaviour
        self.calls: list[Call] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                call = Call(self, self.rfile.read(int(self.headers["Content-Length"])))
                outer.calls.append(call)
                try:
                    outer.behaviour(call)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def spans(self) -> list[Any]:
        return [span for call in list(self.calls) for span in call.spans]

    def by_id(self) -> dict[str, Any]:
        """Return the spans by their ids; those that came again must be the same."""
        found: dict[str, Any] = {}
        for span in self.spans:
            before = found.setdefault(span.span_id.hex(), span)
            assert before == span, "a span was exported again, and is another one"
        return found

    def await_spans(self, is_wanted: Callable[[Any], bool], what: str) -> Any:
        """Wait for a span, and return it."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [span for span in self.spans if is_wanted(span)]
            return bool(found)

        wait_until(look, what)
        return found[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attributes(one: Any) -> dict[str, Any]:
    """Return the attributes of a span or an event as plain values."""
    return {item.key: _plain(item.value) for item in one.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind)
