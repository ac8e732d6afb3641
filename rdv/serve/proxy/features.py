"""Looks up features outside, by a key, and puts them into `data` before the models see it.

What was read lately is used again, and what cannot be read in time is replaced by what was known
last: `{"features": {...}, "features_stale": true}`. The features as served are in the request's
record, so that a replay and a training see the same. Nothing waits in the proxy's loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
import orjson
from msgspec import Raw

from rdv.clock import SYSTEM_CLOCK
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.models.model import describe
from rdv.rendezvous.messages import Request
from rdv.serve.failures import Failures

log = logging.getLogger("rdv.proxy")

LOOKUPS_MAX = 64
"""The maximum number of lookups at a time; requests for further keys go on with what is known."""
WAITING_MAX = 1_000
"""The maximum number of requests that wait for lookups."""
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""The maximum size of their data, together; what is above gets the last known features."""
FAILURES_MAX = 5
REST_S = 1.0
"""After FAILURES_MAX failures in a row no lookup is made for this time: no request waits."""
FEATURES_BYTES_MAX = 262_144
"""The maximum size of the features of one key."""
REPLY_BYTES_MAX = 2 * FEATURES_BYTES_MAX
"""The maximum size of a reply of Redis, in which each value has its length."""
READ_BYTES_MIN = 32
"""What each read of it counts at least."""

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_NULL = Raw(b"null")

Done = Callable[[Request], None]


class Lookup(Protocol):
    """The interface of a source of features. For the loop's thread."""

    async def get(self, key: str) -> bytes:
        """Return the features of a key as the JSON of an object. Raises whatever goes wrong."""

    async def close(self) -> None: ...


class UnusableFeatures(Exception):
    """What a source has answered is no object of features."""


class _Known(NamedTuple):
    features: Raw
    read_s: float


@dataclass
class FeatureCounts:
    """Counts requests by where their features came from."""

    read: int = 0
    cached: int = 0
    stale: int = 0
    missing: int = 0
    """Neither read nor known: null."""


class FeatureEnricher:
    """Puts features into requests. For the loop's thread."""

    def __init__(
        self,
        name: str,
        settings: RedisFeatures | HttpFeatures,
        lookup: Lookup,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = FeatureCounts()
        self.failures = Failures(f"the enricher {name}", SYSTEM_CLOCK, log, "enricher_failed")
        self._settings = settings
        self._lookup = lookup
        self._now_s = now_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._waiting: dict[str, list[tuple[Request, Done]]] = {}
        self._waiting_count = self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._rests_until_s = 0.0

    def enrich(self, request: Request, holder: str, done: Done) -> None:
        """Call `done` within the time limit, with the features or what is known of them."""
        del holder
        key = self._key_of(request)
        if not key:
            self.counts.missing += 1
            done(self._with(request, None, is_stale=False))
            return
        known, now_s = self._known.get(key), self._now_s()
        if known is not None and now_s - known.read_s < self._settings.cache_ms / 1000:
            self.counts.cached += 1
            done(self._with(request, known.features, is_stale=False))
            return
        waiting = self._waiting.get(key)
        size = len(request.data)
        is_full = self._waiting_count >= WAITING_MAX
        is_full = is_full or self._waiting_bytes + size > WAITING_BYTES_MAX
        if is_full or (waiting is None and (len(self._waiting) >= LOOKUPS_MAX or self._rests())):
            done(self._last_known(request, key))
            return
        self._waiting_count += 1
        self._waiting_bytes += size
        if waiting is not None:  # one lookup serves all
            waiting.append((request, done))
            return
        self._waiting[key] = [(request, done)]
        task = asyncio.get_running_loop().create_task(self._look_up(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rests(self) -> bool:
        """Return whether the source has failed so often that it is left alone for a while."""
        if self._failed < FAILURES_MAX:
            return False
        now_s = self._now_s()
        if now_s < self._rests_until_s:
            return True
        self._rests_until_s = now_s + REST_S  # this one tries it again
        return False

    async def _look_up(self, key: str) -> None:
        fault = ""
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                features = self._usable(await self._lookup.get(key))
        except TimeoutError:
            fault = f"no features within {self._settings.timeout_ms} ms"
        except Exception as error:  # noqa: BLE001  a library's errors of all kinds
            fault = describe(error)
        finally:
            waiting = self._waiting.pop(key)
            self._waiting_count -= len(waiting)
            self._waiting_bytes -= sum(len(request.data) for request, _ in waiting)
        self.failures.note(1, 1 if fault else 0, fault, "enricher_failed")
        if fault:
            self._failed += 1
            if self._failed == FAILURES_MAX:
                self._rests_until_s = self._now_s() + REST_S
            for request, done in waiting:
                done(self._last_known(request, key))
            return
        self._failed = 0
        self._keep(key, features)
        for request, done in waiting:
            self.counts.read += 1
            done(self._with(request, features, is_stale=False))

    def _usable(self, text: bytes) -> Raw:
        """Return the wanted fields of an answer. Raises UnusableFeatures."""
        if len(text) > FEATURES_BYTES_MAX:
            raise UnusableFeatures(f"more than {FEATURES_BYTES_MAX:,} bytes of features")
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UnusableFeatures(f"the features are not JSON: {error}") from None
        if not isinstance(found, dict):
            raise UnusableFeatures("the features are not an object")
        if self._settings.fields:
            found = {name: found.get(name) for name in self._settings.fields}
        return Raw(orjson.dumps(found))

    def _keep(self, key: str, features: Raw) -> None:
        self._known[key] = _Known(features, self._now_s())
        self._known.move_to_end(key)
        while len(self._known) > self._settings.cache_max:
            self._known.popitem(last=False)

    def _last_known(self, request: Request, key: str) -> Request:
        """Return the request with features that are stale; null when none are known."""
        known = self._known.get(key)
        if known is None or self._now_s() - known.read_s > self._settings.stale_ms / 1000:
            self.counts.missing += 1
            return self._with(request, None, is_stale=True)
        self.counts.stale += 1
        return self._with(request, known.features, is_stale=True)

    def _key_of(self, request: Request) -> str:
        if not self._settings.by:
            return request.key or ""
        value: Any = orjson.loads(bytes(request.data))
        for name in self._settings.by.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, str | int):
            return ""
        return str(value)

    def _with(self, request: Request, features: Raw | None, *, is_stale: bool) -> Request:
        """Return the request with features in its data; data that is no object stays as it is."""
        if bytes(request.data).lstrip()[:1] != b"{":
            return request
        values: dict[str, Any] = _decode_object(request.data)
        into = self._settings.into
        values[into] = _NULL if features is None else features
        values[f"{into}_stale"] = is_stale
        return msgspec.structs.replace(request, data=Raw(_encode(values)))

    def retire(self) -> None:
        """Close the source when the lookups under way are done."""
        loop = asyncio.get_running_loop()
        self._closing = loop.create_task(self._end())

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._lookup.close()

    def close(self) -> None:
        """Drop the lookups under way."""
        for task in self._tasks:
            task.cancel()


class RedisLookup:
    """Reads hashes of a Redis server: HGETALL, or HMGET of the fields. Raises ImportError."""

    def __init__(self, settings: RedisFeatures, url: str) -> None:
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        limit_s = settings.timeout_ms / 1000
        pool: Any = ConnectionPool.from_url(
            url,
            socket_timeout=max(1.0, limit_s),
            socket_connect_timeout=max(1.0, limit_s),
            max_connections=2 * LOOKUPS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
        pool.connection_class = _bounded(pool.connection_class)
        self._redis: Any = Redis.from_pool(pool)
        self._settings = settings
        self._value = _json_value if settings.values == "json" else _text_value

    async def get(self, key: str) -> bytes:
        """Return the hash of a key; an empty object when there is none."""
        name, fields = self._settings.prefix + key, self._settings.fields
        if fields:
            values = await self._redis.hmget(name, fields)
            found = dict(zip(fields, values, strict=True))
        else:
            found = {_text_value(n): v for n, v in (await self._redis.hgetall(name)).items()}
        return orjson.dumps(
            {name: None if v is None else self._value(v) for name, v in found.items()}
        )

    async def close(self) -> None:
        await self._redis.aclose()


class _BoundedReader:
    """Reads a connection like asyncio.StreamReader, and no more than `left` bytes of it.

    The client reads a value as a whole, of any size that the server names.
    """

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.left = REPLY_BYTES_MAX

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def readexactly(self, count: int) -> bytes:
        self._take(count)
        data: bytes = await self._reader.readexactly(count)
        return data

    async def read(self, count: int = -1) -> bytes:
        data: bytes = await self._reader.read(count)
        self._take(len(data))
        return data

    async def readline(self) -> bytes:
        data: bytes = await self._reader.readline()
        self._take(len(data))
        return data

    def _take(self, count: int) -> None:
        # Many tiny values take the proxy's time instead of its memory.
        self.left -= max(count, READ_BYTES_MIN)
        if self.left < 0:
            raise UnusableFeatures(f"more than {FEATURES_BYTES_MAX:,} bytes of features")


def _bounded(kind: Any) -> Any:
    """Return a kind of connection to Redis that gives up replies beyond REPLY_BYTES_MAX."""

    class Bounded(kind):  # type: ignore[misc]
        async def _connect(self) -> None:
            await super()._connect()
            self._reader: Any = _BoundedReader(self._reader)

        async def send_packed_command(self, *given: Any, **named: Any) -> None:
            if isinstance(self._reader, _BoundedReader):
                self._reader.left = REPLY_BYTES_MAX
            await super().send_packed_command(*given, **named)

    return Bounded


def _text_value(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _json_value(value: bytes) -> Any:
    """Return a number, true, false or null for the text of one; any other text as it is."""
    if value[:1] in b"-0123456789tfn" and value:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            pass
    return _text_value(value)


class HttpLookup:
    """Asks an HTTP server for the JSON object of a key; 404 is an empty object."""

    def __init__(self, settings: HttpFeatures, authorization: str) -> None:
        import httpx

        limit_s = settings.timeout_ms / 1000
        self._url = settings.url
        self._client = httpx.AsyncClient(
            timeout=max(1.0, limit_s),
            limits=httpx.Limits(max_connections=LOOKUPS_MAX, keepalive_expiry=60),
            # Not compressed: a few bytes of that are many, before they can be counted.
            headers={
                "Accept-Encoding": "identity",
                **({"Authorization": authorization} if authorization else {}),
            },
            trust_env=False,
        )

    async def get(self, key: str) -> bytes:
        """Return the object of a key. Raises UnusableFeatures for another status."""
        from urllib.parse import quote

        if key in (".", ".."):  # as a part of a path they lead to another one
            raise UnusableFeatures(f"{key!r} cannot be a part of an address")
        url = self._url.replace("{key}", quote(key, safe=""))
        body = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code == 404:  # noqa: PLR2004
                return b"{}"
            if answer.status_code != 200:  # noqa: PLR2004
                raise UnusableFeatures(f"the server answers {answer.status_code}")
            async for part in answer.aiter_raw():
                body += part
                if len(body) > FEATURES_BYTES_MAX:
                    raise UnusableFeatures(f"more than {FEATURES_BYTES_MAX:,} bytes of features")
        return bytes(body)

    async def close(self) -> None:
        await self._client.aclose()
