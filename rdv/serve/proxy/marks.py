"""Clients may mark a request with an `X-Request-Id` and an `Idempotency-Key`.

    X-Request-Id: 4bf92f3577b34da6          recorded with the request, and returned with its answer
    Idempotency-Key: "8e03978e-40d5-43dd"   a repeat gets the first answer (see `repeats`)

A key is a string in structured field syntax (RFC 9651, as in draft-ietf-httpapi-idempotency-key-
header), or the same without quotes.

Identifies the client of an HTTP request, in this one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from rdv.clock import Clock
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.http.head import CHARACTERS_MAX, HEADER, is_request_id
from rdv.rendezvous.messages import Idempotency
from rdv.serve.proxy.repeats import Place, Repeat, Repeats


def client_of(http: HttpRequest) -> str:
    """Return the client's address (for IPv6 its /64 network), or the one a trusted proxy names."""
    return http.client


KEY_CHARACTERS_MAX = 255
DIGEST_BYTES = 16
PATHS = frozenset(("/v1/decide", "/v1/outcomes"))
REPLAYED = (b"Idempotency-Replayed", b"true")

_X_REQUEST_ID, _IDEMPOTENCY_KEY = HEADER, b"idempotency-key"
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-+\--:<-\[\]-~]+")
"""Visible ASCII, but no quote, comma, semicolon or backslash."""

_Header = tuple[bytes, bytes]


def read_key(raw: bytes) -> str | Failure:
    """Return the text of an `Idempotency-Key`."""
    if found := _QUOTED.fullmatch(raw):
        text = re.sub(rb"\\(.)", rb"\1", found[1]).decode()
    elif _BARE.fullmatch(raw):
        text = raw.decode()
    else:
        text = ""
    if 0 < len(text) <= KEY_CHARACTERS_MAX:
        return text
    message = f"Idempotency-Key is not a string of 1 to {KEY_CHARACTERS_MAX} characters"
    return Failure(400, "invalid_idempotency_key", message)


def read_id(raw: bytes | None) -> str | Failure:
    """Return an `X-Request-Id`; empty when there is none."""
    if raw is None:
        return ""
    if is_request_id(raw):
        return raw.decode()
    message = f"X-Request-Id is not 1 to {CHARACTERS_MAX} visible ASCII characters"
    return Failure(400, "invalid_request_id", message)


class Marked:
    """Wraps a request with marks.

    Handlers use it as the HTTP request; its answer also goes to its repeats.
    """

    __slots__ = ("_repeats", "http", "idempotency", "repeat", "x_request_id")

    def __init__(self, http: Any, x_request_id: str = "") -> None:
        self.http = http
        self.x_request_id = x_request_id
        self.idempotency: Idempotency | None = None
        self.repeat: Repeat | None = None
        self._repeats: Repeats | None = None

    def answers_for(self, repeats: Repeats, repeat: Repeat) -> None:
        """Make its answer that of all repeats: it is the first request with its key."""
        place = repeat.place
        self.idempotency = Idempotency(place.key, repeat.fingerprint, place.client)
        self._repeats, self.repeat = repeats, repeat

    @property
    def connected(self) -> bool:
        """Return whether a client may still want the answer; with a key, a repeat always may."""
        return self.repeat is not None or bool(self.http.connected)

    @property
    def client(self) -> str:
        """Return `rdv.http.Request.client`; empty for a request from before the proxy's start."""
        return "" if self.http is None else str(self.http.client)

    @property
    def token(self) -> str:
        """Return `rdv.http.Request.token`."""
        return "" if self.http is None else str(self.http.token)

    @token.setter
    def token(self, token: str) -> None:
        if self.http is not None:
            self.http.token = token

    def __getattr__(self, name: str) -> Any:
        return getattr(self.http, name)

    def respond(
        self, status: int, body: bytes = b"", *, headers: Iterable[_Header] = (), **more: Any
    ) -> None:
        """Answer as `rdv.http.Request.respond`, and answer the waiting repeats."""
        headers = tuple(headers)
        waiting: list[Marked] = []
        if self._repeats is not None and self.repeat is not None:
            waiting = self._repeats.answered(self.repeat, status, body)
        self.send(status, body, headers, **more)
        for repeated in waiting:
            repeated.send(status, body, (*headers, REPLAYED), **more)

    def send(self, status: int, body: bytes, headers: tuple[_Header, ...], **more: Any) -> None:
        """Answer this request alone."""
        if self.http is None:  # the request is from before the proxy's start
            return
        if self.x_request_id:
            headers = (*headers, (b"X-Request-Id", self.x_request_id.encode()))
        self.http.respond(status, body, headers=headers, **more)

    def fail(self, failure: Failure) -> None:
        """Answer as `rdv.http.Request.fail`."""
        self.respond(failure.status, failure.body(), headers=failure.headers)


class Marking:
    """Handles the marks before it calls another HTTP application. For the loop's thread."""

    def __init__(
        self, application: Callable[[HttpRequest], None], repeats: Repeats, clock: Clock
    ) -> None:
        self._application = application
        self._repeats = repeats
        self._now_ns = clock.monotonic_ns

    def __call__(self, http: HttpRequest) -> None:
        headers = http.headers
        if _X_REQUEST_ID not in headers and _IDEMPOTENCY_KEY not in headers:
            self._application(http)
            return
        is_ours = http.method == "POST" and http.path in PATHS
        x_request_id = read_id(headers.get(_X_REQUEST_ID))
        if isinstance(x_request_id, Failure):
            if is_ours:
                http.fail(x_request_id)
                return
            x_request_id = ""
        marked = Marked(http, x_request_id)
        key = headers.get(_IDEMPOTENCY_KEY)
        if key is None or not is_ours or not self._repeats.limits.keep_ms:
            self._application(marked)  # type: ignore[arg-type]
        else:
            self._keyed(marked, key)

    def _keyed(self, marked: Marked, raw: bytes) -> None:
        key = read_key(raw)
        if isinstance(key, Failure):
            marked.fail(key)
            return
        http, now_ns = marked.http, self._now_ns()
        place = Place(client_of(http), http.path, key)
        fingerprint = blake2b(http.body, digest_size=DIGEST_BYTES).hexdigest()
        known = self._repeats.find(place, fingerprint, now_ns)
        if isinstance(known, Failure):
            marked.fail(known)
        elif known is None:
            self._first(marked, place, fingerprint, now_ns)
        elif known.status:
            marked.send(known.status, known.body, (REPLAYED,))
        else:
            http.body = b""  # the same as that of the first request
            known.waiting.append(marked)

    def _first(self, marked: Marked, place: Place, fingerprint: str, now_ns: int) -> None:
        repeat = self._repeats.begin(place, fingerprint, now_ns)
        if isinstance(repeat, Failure):
            marked.fail(repeat)
            return
        marked.answers_for(self._repeats, repeat)
        try:
            self._application(marked)  # type: ignore[arg-type]
        except Exception:
            # The HTTP server answers 500 to this one; the repeats must not wait for ever.
            marked.fail(_FAILED)
            raise


_FAILED = Failure(500, "internal_error", "the server failed to handle this request")
