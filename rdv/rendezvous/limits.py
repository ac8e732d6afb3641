"""The engine is bounded: every limit has its name, its default and its reason here."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.schedule import INLINE_BYTES_MAX, SLA_MS_MAX


@dataclass(frozen=True)
class Limits:
    """A `Limits` holds the limits of one engine. Raises ValueError for one below 1."""

    open_mailboxes_max: int = 1_000_000
    """The maximum number of open requests. One more is answered with the default at once
    ("overloaded")."""

    wait_ms_max: int = SLA_MS_MAX
    """The maximum wait of a request in milliseconds. Schedules with a longer SLA are refused when
    they are read, so this affects only old recorded requests."""

    reports_max: int = 256
    """The maximum number of reports in one mailbox; more models than that do not fit one
    decision.
    """

    early_scores_max: int = 100_000
    """The maximum number of scores that wait for their request. With file streams there are none;
    other brokers may deliver a score first."""

    early_bytes_max: int = 67_108_864
    """The maximum size of their results together, in bytes: beyond it, the older half is
    dropped.
    """

    early_ms_max: int = 5_000
    """How long a score waits for its request, in milliseconds (up to twice as long, or half as long
    when the buffer is full). Then it is dropped and counted as unknown."""

    answered_ids_max: int = 1_000_000
    """The maximum number of ids of answered requests that are kept, to tell a late score from an
    early one, and not to answer a repeated request again. About 120 bytes each."""

    answered_ms_max: int = 10_000
    """How long they are kept, in milliseconds (up to twice as long, or less when there are too
    many)."""

    inline_schedules_max: int = 1_000
    """The maximum number of inline schedules that are kept compiled; QA sends the same one
    repeatedly."""

    inline_cache_bytes_max: int = 1_048_576
    """The maximum size of their JSON together, in bytes. Compiled, a schedule takes up to about 30
    times as much."""

    inline_bytes_max: int = INLINE_BYTES_MAX
    """The maximum size of an inline schedule in bytes. A longer one is refused; no proxy accepts
    one."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"{field.name} = {value!r} is below 1")
