"""Declare the settings of an rdv.toml: type, range, comment and effect of each, in one place.

The comment becomes the line above the key in a new `rdv.toml`; it names what the setting is, its
unit and when not to change it. The effect says when an edit of it is applied to a decision that is
being served; `rdv serve`, the tests and the comments in `rdv.toml` all read it from here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from rdv.rendezvous.schedule.load import INLINE_BYTES_MAX
from rdv.stream import DAY_MS, PARTITIONS_MAX, Fsync, StreamConfig

COUNT_MAX = 1_000_000_000
MS = (1, 3_600_000)
"""The bounds of a duration in ms: up to an hour."""
PORT_MAX = 65_535

WhenFull = Literal["429", "default"]
ReadyWhen = Literal["model", "serving"]

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


live = partial(setting, effect="live")
on_replace = partial(setting, effect="replace")
on_serve = partial(setting, effect="serve")
on_command = partial(setting, effect="command")


class Field(NamedTuple):
    """Describes a setting as `rdv.toml` shows it; `effect` is None where none is declared."""

    name: str
    comment: str
    default: Any
    effect: Effect | None


@functools.cache
def setting_fields(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the settings of a section, in order. Fields without a comment are not settings."""
    return tuple(_setting_fields(kind))


def _setting_fields(kind: type[msgspec.Struct]) -> Iterator[Field]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        metas = [
            item
            for item in getattr(hints[field.name], "__metadata__", ())
            if isinstance(item, Meta)
        ]
        if metas:
            effect = (metas[0].extra or {}).get("effect")
            yield Field(field.name, metas[0].description or "", _default(field), effect)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the HTTP server: what the proxies accept, and its limits."""

    host: Annotated[
        str, on_serve("Address to listen on; 0.0.0.0 makes it reachable from the network")
    ] = "127.0.0.1"
    port: Annotated[
        int, on_serve("Port of the first proxy; further ones take the next ports", 1, PORT_MAX)
    ] = 8100
    proxies: Annotated[
        int, on_serve("Number of proxies; each one is a separate process", 1, 64)
    ] = 1
    grpc_port: Annotated[
        int,
        on_serve(
            "Port of the Open Inference Protocol by gRPC, in its own process; 0: none", 0, PORT_MAX
        ),
    ] = 0
    hosts: Annotated[
        list[str], live('Accepted Host headers besides loopback and host: "shop.example"; "*": all')
    ] = []
    origins: Annotated[
        list[str], live('Origins of the web pages that may send requests: "https://shop.example"')
    ] = []
    trusted_proxies: Annotated[
        list[str],
        live("Addresses, networks (10.0.0.0/8) whose X-Forwarded-For or Forwarded is trusted"),
    ] = []
    client_share: Annotated[
        float,
        live(
            "Largest share of the limits for one client, leaving 20 places or half; 1: all", 0.1, 1
        ),
    ] = 0.9
    body_bytes_max: Annotated[
        int, live("Maximum size of a request body; larger: 413", 1, 64 * 1024 * 1024)
    ] = 1_048_576
    rows_max: Annotated[
        int, live("Maximum number of rows in one request; more: 413", 1, 10_000)
    ] = 100
    partial_bytes_max: Annotated[
        int, live("Maximum size of all incomplete requests together; beyond: 503", 65_536, 2**40)
    ] = 268_435_456
    header_bytes_max: Annotated[
        int, live("Maximum size of a request's headers; larger: 431", 256, 1_048_576)
    ] = 16_384
    in_flight_max: Annotated[
        int,
        live(
            "Maximum number of requests in flight in one proxy; beyond: see when_full", 1, COUNT_MAX
        ),
    ] = 2_250
    in_flight_bytes_max: Annotated[
        int, live("Maximum size of their bodies together; beyond: see when_full", 1, 2**40)
    ] = 268_435_456
    when_full: Annotated[
        WhenFull,
        live('Answer of a full proxy: status "429", or the marked "default" of the schedule'),
    ] = "429"
    client_timeout_ms: Annotated[
        int, live("Time that a client may take to send a request, and to read its answer", *MS)
    ] = 10_000
    ready_when: Annotated[
        ReadyWhen,
        live('What /readyz waits for: "model": one that the schedule accepts; "serving": no model'),
    ] = "model"
    keep_alive_ms: Annotated[int, live("An idle connection is closed after this time", *MS)] = (
        75_000
    )
    connections_max: Annotated[
        int,
        live(
            "Maximum number of connections to one proxy; beyond, idle ones are closed", 1, COUNT_MAX
        ),
    ] = 1_120
    inline_schedules: Annotated[
        bool, live("Whether a request may contain its own schedule; false: 422")
    ] = True
    inline_bytes_max: Annotated[
        int, live("Maximum size of a schedule in a request; larger: 422", 1, INLINE_BYTES_MAX)
    ] = 16_384
    inline_sla_multiple: Annotated[
        float,
        live(
            "Longest SLA of a schedule in a request, as a multiple of the live one; beyond: 422",
            1,
            1_000_000,
        ),
    ] = 100.0
    idempotency_ms: Annotated[
        int,
        live(
            "Time for which a repeat with the same Idempotency-Key gets the first answer; 0: off",
            0,
            24 * 3_600_000,
        ),
    ] = 300_000
    idempotency_keys_max: Annotated[
        int,
        live(
            "Maximum number of remembered keys per proxy; one client may use half of what is free",
            2,
            COUNT_MAX,
        ),
    ] = 20_000
    idempotency_bytes_max: Annotated[
        int, live("Maximum size of these keys with their answers", 65_536, 2**40)
    ] = 33_554_432
    enrich: Annotated[
        str,
        live(
            'Function that adds outside state to "data" before the models: "models/x.py:function"'
        ),
    ] = ""
    enrich_timeout_ms: Annotated[
        int, live("Time limit of that function; beyond, requests go on without it", *MS)
    ] = 5

    def inline_sla_max_ms(self, live_ms: float) -> float:
        """Return the longest SLA of an inline schedule for a live SLA of `live_ms`; 0: none."""
        return live_ms * self.inline_sla_multiple if self.inline_schedules else 0.0


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the rendezvous servers, which choose among the answers."""

    instances: Annotated[
        int, on_serve("Number of rendezvous servers; those beyond partitions are idle", 1, 64)
    ] = 1
    mailboxes_max: Annotated[
        int,
        live("Maximum number of open requests in one server; beyond: the default", 1, COUNT_MAX),
    ] = 100_000


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the decision's streams when they are made."""

    fsync: Annotated[
        Fsync, on_serve('Syncs, only needed for power losses: "none", "interval", "always" (slow)')
    ] = "none"
    fsync_interval_ms: Annotated[
        int, on_serve('Time between two syncs with fsync = "interval"', *MS)
    ] = 100
    retention_ms: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10**15)] | Literal["forever"],
        on_serve('Age at which records are deleted; a replay needs them; or "forever"'),
    ] = 7 * DAY_MS
    segment_bytes: Annotated[
        int, on_serve("Size of a log file; retention deletes whole files", 4096, 2**40)
    ] = 64 * 1024 * 1024
    mode: Annotated[
        str,
        on_serve("Permissions of the log's files; 0640: the group may read them, and wait"),
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


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the hourly digests with which `rdv compare` finds drift (`DIR/digests`)."""

    weeks: Annotated[
        int,
        live(
            "Weeks for which hourly digests of input and scores outlive log.retention_ms; 0: none",
            0,
            104,
        ),
    ] = 6
    wait_ms: Annotated[
        int, live("Time from the end of an hour, and from the start, to its digest", *MS)
    ] = 120_000


__all__ = ["PARTITIONS_MAX", "Drift", "Http", "Log", "Server", "WhenFull"]
