"""A repeat with the same `Idempotency-Key` gets the first answer; nothing is decided twice. Pure.

The first request with a key is decided; repeats that come meanwhile wait for its answer, and later
ones get it from memory, for `keep_ms` since the first. Only answers with a 2xx status are kept; a
refusal is forgotten, so that the client may try again.

A key is never evicted before its time. Instead a client is refused new keys once it holds as many
as are left free: so one client alone gets half of the room, and others always find some.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from rdv.http import Failure

OVERHEAD_BYTES = 600
"""The bytes of one key, besides its text and its answer."""

WAITING_MAX = 64
"""The maximum number of repeats that wait for one answer."""

RETRY_MAX_S = 60


@dataclass(frozen=True)
class RepeatLimits:
    """Limits how much is remembered, and for how long. With a `keep_ms` of 0 nothing is."""

    keep_ms: int = 300_000
    keys_max: int = 20_000
    bytes_max: int = 33_554_432


class Place(NamedTuple):
    """Identifies a key by client, path and text: two clients never share one."""

    client: str
    path: str
    key: str


class Repeat:
    """Holds one key: the repeats that wait for its answer, and the answer once it is there."""

    __slots__ = ("body", "fingerprint", "is_kept", "place", "since_ns", "size", "status", "waiting")

    def __init__(self, place: Place, fingerprint: str, since_ns: int) -> None:
        self.place = place
        self.fingerprint = fingerprint
        self.since_ns = since_ns
        self.waiting: list[Any] = []
        self.status = 0
        """0 until there is an answer."""
        self.body = b""
        self.is_kept = True
        """Whether there was room for the body."""
        self.size = OVERHEAD_BYTES + len(place.client) + len(place.key)


class Repeats:
    """Holds all keys that are remembered. One thread at a time; `now_ns` never runs backwards."""

    def __init__(self, limits: RepeatLimits) -> None:
        self.limits = limits
        self._known: dict[Place, Repeat] = {}
        self._counts: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._bytes_all = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def size_bytes(self) -> int:
        """Return the approximate size of all keys and answers."""
        return self._bytes_all

    def __iter__(self) -> Iterator[Repeat]:
        return iter(self._known.values())

    def find(self, place: Place, fingerprint: str, now_ns: int) -> Repeat | Failure | None:
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

    def begin(self, place: Place, fingerprint: str, now_ns: int) -> Repeat | Failure:
        """Remember a new key; return a Failure when its client holds too many."""
        limits, client = self.limits, place.client
        count, size = self._counts.get(client, 0), self._bytes.get(client, 0)
        free, free_bytes = limits.keys_max - len(self), limits.bytes_max - self._bytes_all
        if count >= free or size >= free_bytes:
            return self._too_many(count, now_ns)
        return self.restore(place, fingerprint, now_ns)

    def restore(self, place: Place, fingerprint: str, since_ns: int) -> Repeat:
        """Remember a key from the log; to be called in the order of their times."""
        if (before := self._known.get(place)) is not None:
            self._forget(before)
        repeat = self._known[place] = Repeat(place, fingerprint, since_ns)
        self._counts[place.client] = self._counts.get(place.client, 0) + 1
        self._grow(repeat, repeat.size)
        return repeat

    def answered(self, repeat: Repeat, status: int, body: bytes) -> list[Any]:
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
        repeat.body = body
        repeat.size += len(body)
        self._grow(repeat, len(body))
        return waiting

    def _grow(self, repeat: Repeat, size: int) -> None:
        client = repeat.place.client
        self._bytes[client] = self._bytes.get(client, 0) + size
        self._bytes_all += size

    def _forget(self, repeat: Repeat) -> None:
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
