"""A request is what a proxy asks of every model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from rdv.rendezvous.messages.codec import SCHEMA_VERSION, Id, Name, TimeNs, decode_line, encode_line


class Idempotency(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An `Idempotency` records an `Idempotency-Key`.

    A repeat with the same `body` gets its answer.
    """

    key: str
    body: str
    """A hash of the HTTP body, in hex."""
    client: str
    """The client that the key belongs to."""

    batch: str = ""
    """Identifies the HTTP request of several rows that this one is a row of; empty: it has one."""

    row: int = 0
    """Which row it is, from 0."""

    rows: int = 0
    """How many rows there are."""


class Request(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="v", tag=SCHEMA_VERSION
):
    """A `Request` is one request, as all models see it."""

    id: Id
    """128 random bits as 32 hex digits (`RequestIds`)."""

    time_ns: TimeNs
    """Wall time of the proxy in ns when the request had come in; for people and look-ups only."""

    host: str
    """The host whose monotonic clock `monotonic_ns` is: it must name the machine *and* its boot."""

    monotonic_ns: TimeNs
    """The proxy's monotonic clock in ns when it had come in: the SLA counts from here."""

    reply_to: Name
    """The return address: the results topic that the proxy reads."""

    data: msgspec.Raw
    """The JSON that the models score, never parsed on its way. The proxy has checked it."""

    key: str | None = None
    """The key that chooses the partition and the cohort: a user, an account."""

    schedule: str | dict[str, Any] | None = None
    """A schedule other than the live one: its name, or all of it (as in a schedule file)."""

    cohort: str | None = None
    """The cohort that the proxy has assigned; its schedule is in `schedule`."""

    deadline_ms: float | None = None
    """The client's own limit in ms from `monotonic_ns` on; counts when it is below the SLA."""

    trace: bool = False
    """Whether the client wants to see which models had reported and when."""

    windows_ms: dict[str, float] = {}
    """The time in milliseconds from `monotonic_ns` on until which a model's answer is the wanted
    one; for models that are not in here it is `deadline_ms`. So workers need to know no schedules.
    """

    not_asked: list[str] = []
    """Models that must not score this request; the server does not wait for them. See `Refusal`."""

    x_request_id: str = ""
    """The client's own name for the request, from the header `X-Request-Id`."""

    idempotency: Idempotency | None = None
    """The idempotency key: a restarted proxy knows by it what it has, or must, answer."""

    propensity: float | None = None
    """In a cohort that explores: the probability of the schedule that this request got, which was
    drawn by its id (`explore`, or 1 - `explore` where it got the live one)."""

    names_models: bool = False
    """Whether `not_asked` is what the client's own `models` leaves out. Then the best of the models
    that are asked is the first choice, and its answer is no fallback."""

    invalid: str = ""
    """What of the data does not fit [schema], where `on_invalid = "pass"` lets it pass."""

    traceparent: str = ""
    """The caller's trace and span (W3C Trace Context), in version 00; empty when it sent none, or
    one that the standard calls invalid."""

    tracestate: str = ""
    """What belongs to `traceparent`, passed on as it came, up to 512 bytes."""

    enriched_ms: float = 0.0
    """Milliseconds from `monotonic_ns` until enrichers were done with it; 0: there is none."""


encode_request: Callable[[Request], bytes] = encode_line
"""Encode it as one line. Thread-safe."""

decode_request: Callable[[bytes], Request] = partial(
    decode_line, msgspec.json.Decoder(Request), "request"
)
"""Read one line. Thread-safe. Raises MalformedMessage."""
