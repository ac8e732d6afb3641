"""Declares the sections [http], [server] and [log] of an `rdv.toml`.

Declares settings: type, range, comment and effect of each, in one place.

The comment becomes the line above the key in a new `rdv.toml`; it names what the setting is, its
unit and when not to touch it. The effect says when an edit of it is applied to a decision that is
being served; `rdv serve`, the tests and the comments in `rdv.toml` all read it from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from rdv.rendezvous.schedule.load import INLINE_BYTES_MAX
from rdv.stream.config import DAY_MS, PARTITIONS_MAX, Fsync, StreamConfig

COUNT_MAX = 1_000_000_000
MS_MAX = 3_600_000

Effect = Literal["live", "replace", "serve", "command"]
"""When an edit takes effect.

- live: at once, while requests flow.
- replace: at once, by replacing the model's processes; no request is lost.
- serve: at the next `rdv serve`; until then every process, also a restarted one, keeps the old
  value.
- command: whenever a command reads it (`rdv promote`); serving does not depend on it.
"""


def setting(
    comment: str,
    ge: float | None = None,
    le: float | None = None,
    *,
    effect: Effect | None = None,
) -> Meta:
    """Return the annotation of a setting; the bounds belong to the valid values.

    Every setting declares its `effect`: a test names those that do not.
    """
    return Meta(description=comment, ge=ge, le=le, extra={"effect": effect})


def milliseconds(comment: str, *, effect: Effect | None = None) -> Meta:
    """Return the annotation of a duration of 1 ms to an hour."""
    return setting(comment, 1, MS_MAX, effect=effect)


class Field(NamedTuple):
    """Describes a setting as `rdv.toml` shows it; `effect` is None where none is declared."""

    name: str
    comment: str
    default: Any
    effect: Effect | None


def setting_fields(kind: type[msgspec.Struct]) -> Iterator[Field]:
    """Yield the settings of a section, in order. Fields without a comment are not settings."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        metas = [item for item in getattr(hints[field.name], "__metadata__", ()) if _is_meta(item)]
        if metas:
            effect = (metas[0].extra or {}).get("effect")
            yield Field(field.name, metas[0].description or "", _default(field), effect)


def _is_meta(item: object) -> bool:
    return isinstance(item, Meta)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


WhenFull = Literal["429", "default"]
ReadyWhen = Literal["model", "serving"]
PORT_MAX = 65_535


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the HTTP server: what the proxies accept, and its limits."""

    host: Annotated[
        str, setting("the address to listen on; 0.0.0.0 opens it to the network", effect="serve")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        setting(
            "the first proxy's port; every further proxy takes the next one",
            1,
            PORT_MAX,
            effect="serve",
        ),
    ] = 8100
    proxies: Annotated[
        int, setting("proxies, each a process of its own", 1, 64, effect="serve")
    ] = 1
    hosts: Annotated[
        list[str],
        setting(
            'names that it is called by, beside loopback and host: "shop.example"; "*": any',
            effect="live",
        ),
    ] = []
    origins: Annotated[
        list[str],
        setting(
            'web pages that may call it, by their origins: "https://shop.example"', effect="live"
        ),
    ] = []
    trusted_proxies: Annotated[
        list[str],
        setting(
            "whose X-Forwarded-For or Forwarded is believed: addresses, networks (10.0.0.0/8)",
            effect="live",
        ),
    ] = []
    client_share: Annotated[
        float,
        setting(
            "one client has at most this share, and leaves 20 places or half of them; 1: all",
            0.1,
            1,
            effect="live",
        ),
    ] = 0.9
    body_bytes_max: Annotated[
        int,
        setting("a larger request body is refused with 413", 1, 64 * 1024 * 1024, effect="live"),
    ] = 1_048_576
    partial_bytes_max: Annotated[
        int,
        setting(
            "all requests that have come in part, together; beyond: 503",
            65_536,
            2**40,
            effect="live",
        ),
    ] = 268_435_456
    header_bytes_max: Annotated[
        int,
        setting(
            "more request headers than this are refused with 431", 256, 1_048_576, effect="live"
        ),
    ] = 16_384
    in_flight_max: Annotated[
        int,
        setting(
            "requests that one proxy holds open at once; beyond: when_full",
            1,
            COUNT_MAX,
            effect="live",
        ),
    ] = 2_250
    in_flight_bytes_max: Annotated[
        int,
        setting("the bodies of all those together; beyond: when_full", 1, 2**40, effect="live"),
    ] = 268_435_456
    when_full: Annotated[
        WhenFull,
        setting('a proxy that is full says "429", or answers the marked "default"', effect="live"),
    ] = "429"
    client_timeout_ms: Annotated[
        int,
        milliseconds(
            "a client may take this long to send a request, and to read its answer", effect="live"
        ),
    ] = 10_000
    ready_when: Annotated[
        ReadyWhen,
        setting(
            '/readyz says so: "model": when one is up that the schedule wants; "serving": always',
            effect="live",
        ),
    ] = "model"
    keep_alive_ms: Annotated[
        int, milliseconds("an idle connection is closed after this long", effect="live")
    ] = 75_000
    connections_max: Annotated[
        int,
        setting(
            "connections to one proxy; beyond, idle ones give way", 1, COUNT_MAX, effect="live"
        ),
    ] = 1_120
    inline_schedules: Annotated[
        bool,
        setting("whether a request may bring a schedule of its own; false: 422", effect="live"),
    ] = True
    inline_bytes_max: Annotated[
        int,
        setting(
            "a larger schedule in a request is refused with 422", 1, INLINE_BYTES_MAX, effect="live"
        ),
    ] = 16_384
    inline_sla_multiple: Annotated[
        float,
        setting(
            "a schedule in a request may have at most so many times the live SLA; beyond: 422",
            1,
            1_000_000,
            effect="live",
        ),
    ] = 100.0
    idempotency_ms: Annotated[
        int,
        setting(
            "a repeat with the same Idempotency-Key gets the first answer for this long; 0: off",
            0,
            24 * 3_600_000,
            effect="live",
        ),
    ] = 300_000
    idempotency_keys_max: Annotated[
        int,
        setting(
            "keys that one proxy remembers; one client may hold half of what others leave",
            2,
            COUNT_MAX,
            effect="live",
        ),
    ] = 20_000
    idempotency_bytes_max: Annotated[
        int,
        setting("the same in bytes, with their answers", 65_536, 2**40, effect="live"),
    ] = 33_554_432
    enrich: Annotated[
        str,
        setting(
            'adds outside state to "data" once, before the models see it: "models/x.py:function"',
            effect="live",
        ),
    ] = ""
    enrich_timeout_ms: Annotated[
        int, milliseconds("an enricher that takes longer is passed over", effect="live")
    ] = 5

    def inline_sla_max_ms(self, live_ms: float) -> float:
        """Return the longest SLA of an inline schedule for a live SLA of `live_ms`; 0: none."""
        return live_ms * self.inline_sla_multiple if self.inline_schedules else 0.0


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the rendezvous servers, which choose among the answers."""

    instances: Annotated[
        int,
        setting("rendezvous servers; more than there are partitions idle", 1, 64, effect="serve"),
    ] = 1
    mailboxes_max: Annotated[
        int,
        setting(
            "requests that one server holds open; beyond: the default", 1, COUNT_MAX, effect="live"
        ),
    ] = 100_000


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the decision's streams when they are made."""

    fsync: Annotated[
        Fsync,
        setting(
            'what a power loss may take: "none" (not a kill), "interval", "always" (slow)',
            effect="serve",
        ),
    ] = "none"
    fsync_interval_ms: Annotated[
        int, milliseconds('how often fsync = "interval" syncs', effect="serve")
    ] = 100
    retention_ms: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10**15)] | Literal["forever"],
        setting(
            'older records are deleted: replay reaches back that far; or "forever"', effect="serve"
        ),
    ] = 7 * DAY_MS
    segment_bytes: Annotated[
        int,
        setting("size of a log file; retention deletes whole files", 4096, 2**40, effect="serve"),
    ] = 64 * 1024 * 1024
    mode: Annotated[
        str,
        setting("permissions of the log's files; 0640: a group may read, and wait", effect="serve"),
        msgspec.Meta(pattern="^0?6[046][046]$"),
    ] = "0600"

    @property
    def file_mode(self) -> int:
        """`mode` as a number."""
        return int(self.mode, 8)

    def stream_config(self, partitions: int, record_bytes_max: int | None = None) -> StreamConfig:
        """Return the settings of one of the decision's streams."""
        known = StreamConfig()
        return StreamConfig(
            partitions=partitions,
            segment_bytes=self.segment_bytes,
            retention_ms=None if self.retention_ms == "forever" else self.retention_ms,
            fsync=self.fsync,
            fsync_interval_ms=self.fsync_interval_ms,
            record_bytes_max=record_bytes_max or known.record_bytes_max,
            mode=self.mode,
        )


__all__ = ["PARTITIONS_MAX", "Http", "Log", "Server", "WhenFull"]
