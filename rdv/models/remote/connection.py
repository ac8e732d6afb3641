"""One HTTP/1.1 connection on a non-blocking socket. For one thread.

All waiting is done by the owner, in its selector: `wanted` says for which events. So a time limit
holds for the whole exchange, also for a server that sends one byte now and then, and closing the
connection cancels the exchange at any time.
"""

from __future__ import annotations

import codecs
import errno
import os
import selectors
import socket
import ssl
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools

READ_BYTES = 256 * 1024
HEAD_BYTES_MAX = 64 * 1024

Address = tuple[int, Any]
"""The family and the address of a socket."""

_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)
_CODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 47}
_SUCCESS = 200


class ConnectionFailed(Exception):
    """The exchange has failed.

    `is_stale` when the server may have closed a kept connection before it saw the request.
    """

    def __init__(self, reason: str, *, is_stale: bool = False) -> None:
        super().__init__(reason)
        self.is_stale = is_stale


@dataclass
class Response:
    """A whole answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By name in small letters; of a repeated one the last."""
    body: bytes = b""

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1").strip()


class _Reader:
    """Collects one answer; the callbacks are those of httptools."""

    def __init__(self, bytes_max: int) -> None:
        self.response = Response()
        self.is_complete = False
        self.has_head = False
        self.fault = ""
        self.keeps_alive = False
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._inflate: Any = None
        self._parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.keeps_alive = False  # what follows an answer was not asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_complete:
            self.response.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        self.response.status = self._parser.get_status_code()
        if self.response.status < _SUCCESS:
            return
        self.has_head = True
        coding = self.response.headers.get(b"content-encoding", b"").strip().lower()
        if coding not in (b"", b"identity"):
            if coding not in _CODINGS:
                self.fault = f"its answer has the unknown coding {coding.decode('latin-1')!r}"
            else:
                self._inflate = zlib.decompressobj(_CODINGS[coding])

    def on_body(self, data: bytes) -> None:
        if self.fault or self.is_complete:
            return
        if self._inflate is not None:
            try:
                data = self._decompressed(data)
            except zlib.error as error:
                self.fault = f"its answer cannot be decompressed: {error}"
                return
        self._size += len(data)
        if self._size > self._bytes_max:
            self.fault = f"its answer has more than {self._bytes_max} bytes"
            return
        self._parts.append(data)

    def _decompressed(self, data: bytes) -> bytes:
        """Return as much as may be kept, and a byte more. Raises zlib.error."""
        parts, room = [], self._bytes_max - self._size + 1
        while data and room > 0:
            if self._inflate.eof:  # gzip may consist of several parts
                self._inflate = zlib.decompressobj(_CODINGS[b"gzip"])
            parts.append(self._inflate.decompress(data, room))
            room -= len(parts[-1])
            data = self._inflate.unused_data if self._inflate.eof else b""
        return b"".join(parts)

    def on_message_complete(self) -> None:
        if self.response.status < _SUCCESS:  # an interim answer
            self.response = Response()
            return
        if not self.is_complete:
            self.is_complete = True
            self.keeps_alive = bool(self._parser.should_keep_alive())

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fault = self.fault or "it wants to switch protocols"
        except httptools.HttpParserError as error:
            self.keeps_alive = False
            if not self.is_complete:
                shown = data[:60].decode("latin-1")
                self.fault = self.fault or f"its answer is not HTTP: {error} in {shown!r}"

    def ended(self) -> bool:
        """Return whether the end of the connection is the end of the answer."""
        headers = self.response.headers
        is_open = b"content-length" not in headers and b"transfer-encoding" not in headers
        self.is_complete = self.is_complete or (self.has_head and is_open)
        return self.is_complete

    def result(self) -> Response:
        self.response.body = b"".join(self._parts).removeprefix(codecs.BOM_UTF8)
        if self._inflate is not None and not self._inflate.eof and self.response.body:
            self.fault = "its compressed answer is not complete"
        return self.response


class Connection:
    """Connects to the first address that accepts, and exchanges one message at a time."""

    def __init__(
        self,
        addresses: Sequence[Address],
        host: str,
        context: ssl.SSLContext | None,
        bytes_max: int,
    ) -> None:
        """Begin to connect. Raises ConnectionFailed."""
        self._addresses = list(addresses)
        self._host = host
        self._context = context
        self._bytes_max = bytes_max
        self._socket: socket.socket | ssl.SSLSocket | None = None
        self._out = memoryview(b"")
        self._reader: _Reader | None = None
        self._wanted = 0
        self._head_bytes = 0
        self.is_connected = False
        self.is_used = False
        """Whether it has been kept alive after an earlier exchange."""
        self.wants_fresh_start = False
        self._connect()

    @property
    def socket(self) -> socket.socket | ssl.SSLSocket:
        assert self._socket is not None
        return self._socket

    @property
    def wanted(self) -> int:
        """Return the events to wait for."""
        return self._wanted

    @property
    def keeps_alive(self) -> bool:
        """Return whether another exchange may follow, once `step` has returned an answer."""
        return self.is_used

    def _connect(self) -> None:
        """Begin to connect to the next address. Raises ConnectionFailed."""
        reason = "there is no address"
        while self._addresses:
            family, address = self._addresses.pop(0)
            self.close()
            try:
                self._socket = socket.socket(family, socket.SOCK_STREAM)
                self._socket.setblocking(False)
                if family in (socket.AF_INET, socket.AF_INET6):
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                code = self._socket.connect_ex(address)
            except OSError as error:
                reason = _words(error)
                continue
            if code in (0, *_IN_PROGRESS):
                self._wanted = selectors.EVENT_WRITE
                return
            reason = os.strerror(code)
        self.close()
        raise ConnectionFailed(f"cannot connect: {reason}")

    def send(self, message: bytes) -> None:
        """Begin an exchange; it goes out as far as the socket takes it. Raises ConnectionFailed."""
        self._out = memoryview(message)
        self._reader = _Reader(self._bytes_max)
        self._head_bytes = 0
        if self.is_connected:
            self._write()

    def is_idle_ended(self) -> bool:
        """Return whether a kept connection has been closed, or has sent what was not asked for."""
        try:
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.read(1)
            else:
                self.socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def step(self) -> Response | None:
        """Go on after an event; return the answer when it is there. Raises ConnectionFailed."""
        try:
            if not self.is_connected and not self._continue_connecting():
                return None
            if self._out:
                self._write()
            return self._read() if self._reader is not None else None
        except ssl.SSLWantReadError:
            self._wanted = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            self._wanted = selectors.EVENT_WRITE
        except ssl.SSLError as error:
            words = _tls_words(error, has_begun=self.is_connected)
            raise ConnectionFailed(f"TLS: {words}") from None
        except OSError as error:
            raise ConnectionFailed(_words(error), is_stale=self._is_stale()) from None
        return None

    def _continue_connecting(self) -> bool:
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            if self._addresses:
                self._connect()
                self.wants_fresh_start = True
                return False
            raise ConnectionFailed(f"cannot connect: {os.strerror(code)}")
        if self._context is not None:
            if not isinstance(self._socket, ssl.SSLSocket):
                assert self._socket is not None
                self._socket = self._context.wrap_socket(
                    self._socket, server_hostname=self._host, do_handshake_on_connect=False
                )
            self._socket.do_handshake()
        else:
            try:
                self.socket.getpeername()
            except OSError:
                return False  # a wake-up before the connection stands
        self.is_connected = True
        return True

    def _write(self) -> None:
        try:
            while self._out:
                self._out = self._out[self.socket.send(self._out) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            # It may answer before it has read everything, as with 413.
            self._wanted = selectors.EVENT_READ | selectors.EVENT_WRITE
            return
        except ssl.SSLWantReadError:
            self._wanted = selectors.EVENT_READ
            return
        except OSError as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)) and not self._is_stale():
                self._out = memoryview(b"")  # its answer may be there all the same
                self._wanted = selectors.EVENT_READ
                return
            raise ConnectionFailed(_words(error), is_stale=self._is_stale()) from None
        self._wanted = selectors.EVENT_READ

    def _read(self) -> Response | None:
        reader = self._reader
        assert reader is not None
        while True:
            try:
                data = self.socket.recv(READ_BYTES)
            except BlockingIOError:
                return None
            if not data:
                if reader.ended() and not reader.fault:
                    return self._finished(reader, keeps_alive=False)
                where = "in the middle of its answer" if self._head_bytes else "without an answer"
                raise ConnectionFailed(
                    reader.fault or f"it closed the connection {where}", is_stale=self._is_stale()
                )
            self._head_bytes += len(data)
            reader.feed(data)
            if not reader.fault and not reader.has_head and self._head_bytes > HEAD_BYTES_MAX:
                reader.fault = f"the head of its answer has more than {HEAD_BYTES_MAX} bytes"
            if reader.fault:
                raise ConnectionFailed(reader.fault)
            if reader.is_complete:
                return self._finished(reader, keeps_alive=not self._out and reader.keeps_alive)
            if len(data) < READ_BYTES and not isinstance(self.socket, ssl.SSLSocket):
                return None

    def _finished(self, reader: _Reader, *, keeps_alive: bool) -> Response:
        self.is_used = keeps_alive
        self._reader = None
        self._out = memoryview(b"")
        self._wanted = selectors.EVENT_READ
        response = reader.result()
        if reader.fault:
            raise ConnectionFailed(reader.fault)
        return response

    def _is_stale(self) -> bool:
        return self.is_used and not self._head_bytes

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _tls_words(error: ssl.SSLError, *, has_begun: bool) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message} (see ca_file)"
    reason = error.reason or str(error)
    if has_begun:
        return reason
    return f"no handshake ({reason}): if it does not speak TLS, its address begins with http://"
