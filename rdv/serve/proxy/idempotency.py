"""A repeated request with the same `Idempotency-Key` gets the first answer; `X-Request-Id` returns.

    X-Request-Id: 4bf92f3577b34da6          recorded with the request, and returned with its answer
    Idempotency-Key: "8e03978e-40d5-43dd"   a repeat gets the first answer

A key is a string in structured field syntax (RFC 9651, as in draft-ietf-httpapi-idempotency-key-
header), or the same without quotes. The first request with a key is decided; repeats that come
meanwhile wait for its answer, and later ones get it from memory, for `keep_ms` since the first.
Only answers with a 2xx status are kept; a refusal is forgotten, so that the client may try again.

A key is never evicted before its time. Instead a client is refused new keys once it holds as many
as are left free: so one client alone gets half of the room, and others always find some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from rdv.clock import Clock
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.http.head import CHARACTERS_MAX, HEADER, is_request_id
from rdv.rendezvous.messages import Idempotency

KEY_CHARACTERS_MAX = 255
DIGEST_BYTES = 16
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
PATHS = frozenset(("/v1/decide", "/v1/outcomes", GRPC_PATH))
REPLAYED = (b"Idempotency-Replayed", b"true")

_X_REQUEST_ID, _IDEMPOTENCY_KEY = HEADER, b"idempotency-key"
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-+\--:<-\[\]-~]+")
"""Visible ASCII, but no quote, comma, semicolon or backslash."""

_Header = tuple[bytes, bytes]
_NOTHING: Mapping[str, Any] = MappingProxyType({})

OVERHEAD_BYTES = 600
"""The bytes of one key, besides its text and its answer."""

WAITING_MAX = 64
"""The maximum number of repeats that wait for one answer."""

RETRY_MAX_S = 60

_FAILED = Failure(500, "internal_error", "the server failed to handle this request")


@dataclass(frozen=True)
class IdempotencyLimits:
    """Limits how much is remembered, and for how long. With a `keep_ms` of 0 nothing is."""

    keep_ms: int = 300_000
    keys_max: int = 20_000
    bytes_max: int = 33_554_432


class ScopedKey(NamedTuple):
    """Identifies a key by client, path and text: two clients never share one."""

    client: str
    path: str
    key: str


class KeyState:
    """Holds one key: the repeats that wait for its answer, and the answer once it is there."""

    __slots__ = (
        "body", "fingerprint", "is_kept", "more", "place", "since_ns", "size", "status", "waiting",
    )  # fmt: skip

    def __init__(self, place: ScopedKey, fingerprint: str, since_ns: int) -> None:
        self.place = place
        self.fingerprint = fingerprint
        self.since_ns = since_ns
        self.waiting: list[Any] = []
        self.status = 0
        """0 until there is an answer."""
        self.body = b""
        self.more = _NOTHING
        """The other arguments of the answer's `respond`, such as its content type."""
        self.is_kept = True
        """Whether there was room for the body."""
        self.size = OVERHEAD_BYTES + len(place.client) + len(place.key)


class IdempotencyKeys:
    """Holds all keys that are remembered. One thread at a time; `now_ns` never runs backwards."""

    def __init__(self, limits: IdempotencyLimits) -> None:
        self.limits = limits
        self._known: dict[ScopedKey, KeyState] = {}
        self._counts: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._bytes_all = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def size_bytes(self) -> int:
        """Return the approximate size of all keys and answers."""
        return self._bytes_all

    def __iter__(self) -> Iterator[KeyState]:
        return iter(self._known.values())

    def find(self, place: ScopedKey, fingerprint: str, now_ns: int) -> KeyState | Failure | None:
        """Return the known key, None when it is new, a Failure when it cannot be repeated."""
        self._expire(now_ns)
        known = self._known.get(place)
        if known is None:
            return None
        if known.fingerprint != fingerprint:
            message = "this Idempotency-Key was used with another body: each request needs its own"
            return Failure(422, "idempotency_key_reused", message)
        if not known.is_kept:
            message = "the request was answered, but there was no room to remember its answer"
            return Failure(503, "answer_not_kept", message)
        if not known.status and len(known.waiting) >= WAITING_MAX:
            message = f"{WAITING_MAX} repeats wait for the answer already"
            return Failure(429, "too_many_requests", message, {}, ((b"Retry-After", b"1"),))
        return known

    def begin(self, place: ScopedKey, fingerprint: str, now_ns: int) -> KeyState | Failure:
        """Remember a new key; return a Failure when its client holds too many."""
        limits, client = self.limits, place.client
        count, size = self._counts.get(client, 0), self._bytes.get(client, 0)
        free, free_bytes = limits.keys_max - len(self), limits.bytes_max - self._bytes_all
        if count >= free or size >= free_bytes:
            return self._too_many(count, now_ns)
        return self.restore(place, fingerprint, now_ns)

    def restore(self, place: ScopedKey, fingerprint: str, since_ns: int) -> KeyState:
        """Remember a key from the log; to be called in the order of their times."""
        if (before := self._known.get(place)) is not None:
            self._forget(before)
        repeat = self._known[place] = KeyState(place, fingerprint, since_ns)
        self._counts[place.client] = self._counts.get(place.client, 0) + 1
        self._grow(repeat, repeat.size)
        return repeat

    def answered(
        self, repeat: KeyState, status: int, body: bytes, more: Mapping[str, Any] = _NOTHING
    ) -> list[Any]:
        """Keep the answer and return the repeats that waited for it. A refusal is forgotten."""
        waiting, repeat.waiting = repeat.waiting, []
        if not 200 <= status < 300:  # noqa: PLR2004
            if self._known.get(repeat.place) is repeat:
                self._forget(repeat)
            return waiting
        repeat.status = status
        if self._known.get(repeat.place) is not repeat:  # its time was over meanwhile
            return waiting
        if self._bytes_all + len(body) > self.limits.bytes_max:
            repeat.is_kept = False
            return waiting
        repeat.body, repeat.more = body, more
        repeat.size += len(body)
        self._grow(repeat, len(body))
        return waiting

    def _grow(self, repeat: KeyState, size: int) -> None:
        client = repeat.place.client
        self._bytes[client] = self._bytes.get(client, 0) + size
        self._bytes_all += size

    def _forget(self, repeat: KeyState) -> None:
        del self._known[repeat.place]
        client = repeat.place.client
        self._grow(repeat, -repeat.size)
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client], self._bytes[client]

    def _expire(self, now_ns: int) -> None:
        """Forget expired keys, the oldest first; open requests go on without their keys."""
        until_ns = now_ns - self.limits.keep_ms * 1_000_000
        while self._known:
            oldest = next(iter(self._known.values()))
            if oldest.since_ns > until_ns:
                return
            self._forget(oldest)

    def _too_many(self, count: int, now_ns: int) -> Failure:
        oldest = next(iter(self._known.values()), None)
        left_s = 1
        if oldest is not None:
            left_ns = oldest.since_ns + self.limits.keep_ms * 1_000_000 - now_ns
            left_s = min(RETRY_MAX_S, max(1, left_ns // 10**9))
        message = (
            f"{count:,} of this client's keys are remembered, and there is no room for more: "
            "http.idempotency_keys_max and http.idempotency_bytes_max are shared"
        )
        retry = (b"Retry-After", b"%d" % left_s)
        return Failure(429, "too_many_idempotency_keys", message, {"keys": count}, (retry,))


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


class KeyedRequest:
    """Wraps a request with one of the two headers.

    Handlers use it as the HTTP request; its answer also goes to its repeats.
    """

    __slots__ = ("_repeats", "http", "idempotency", "repeat", "x_request_id")

    def __init__(self, http: Any, x_request_id: str = "") -> None:
        self.http = http
        self.x_request_id = x_request_id
        self.idempotency: Idempotency | None = None
        self.repeat: KeyState | None = None
        self._repeats: IdempotencyKeys | None = None

    def answers_for(self, repeats: IdempotencyKeys, repeat: KeyState) -> None:
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

    def respond(self, status: int, body: bytes = b"", **more: Any) -> None:
        """Answer as `rdv.http.Request.respond`, and answer the waiting repeats."""
        waiting: list[KeyedRequest] = []
        if self._repeats is not None and self.repeat is not None:
            waiting = self._repeats.answered(self.repeat, status, body, more)
        self.send(status, body, more)
        for repeated in waiting:
            repeated.send(status, body, more, REPLAYED)

    def send(self, status: int, body: bytes, more: Mapping[str, Any], *marks: _Header) -> None:
        """Answer this request alone; `marks` are further headers."""
        if self.http is None:  # the request is from before the proxy's start
            return
        if self.x_request_id:
            marks = (*marks, (b"X-Request-Id", self.x_request_id.encode()))
        headers = (*more.get("headers", ()), *marks)
        self.http.respond(status, body, **{**more, "headers": headers})

    def fail(self, failure: Failure) -> None:
        """Answer as `rdv.http.Request.fail`."""
        if self.http is not None:
            failure = failure.said_at(self.http.target)
        self.respond(failure.status, failure.body(), headers=failure.headers)


def _takes_keys(path: str) -> bool:
    """Return whether the requests at a path may have an Idempotency-Key."""
    return path in PATHS or (path.startswith("/v2/models/") and path.rstrip("/").endswith("/infer"))


class IdempotencyMiddleware:
    """Handles both headers before it calls another HTTP application. For the loop's thread."""

    def __init__(
        self, application: Callable[[HttpRequest], None], repeats: IdempotencyKeys, clock: Clock
    ) -> None:
        self._application = application
        self._repeats = repeats
        self._now_ns = clock.monotonic_ns

    def __call__(self, http: HttpRequest) -> None:
        headers = http.headers
        if _X_REQUEST_ID not in headers and _IDEMPOTENCY_KEY not in headers:
            self._application(http)
            return
        is_ours = http.method == "POST" and _takes_keys(http.path)
        x_request_id = read_id(headers.get(_X_REQUEST_ID))
        if isinstance(x_request_id, Failure):
            if is_ours:
                http.fail(x_request_id.said_at(http.target))
                return
            x_request_id = ""
        marked = KeyedRequest(http, x_request_id)
        key = headers.get(_IDEMPOTENCY_KEY)
        if key is None or not is_ours or not self._repeats.limits.keep_ms:
            self._application(marked)  # type: ignore[arg-type]
        else:
            self._keyed(marked, key)

    def _keyed(self, marked: KeyedRequest, raw: bytes) -> None:
        key = read_key(raw)
        if isinstance(key, Failure):
            marked.fail(key)
            return
        http, now_ns = marked.http, self._now_ns()
        place = ScopedKey(http.client, http.path, key)
        fingerprint = blake2b(http.body, digest_size=DIGEST_BYTES).hexdigest()
        known = self._repeats.find(place, fingerprint, now_ns)
        if isinstance(known, Failure):
            marked.fail(known)
        elif known is None:
            self._first(marked, place, fingerprint, now_ns)
        elif known.status:
            marked.send(known.status, known.body, known.more, REPLAYED)
        else:
            http.body = b""  # the same as that of the first request
            known.waiting.append(marked)

    def _first(self, marked: KeyedRequest, place: ScopedKey, fingerprint: str, now_ns: int) -> None:
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
