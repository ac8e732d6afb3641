"""Nothing in the engine is unbounded: every limit, with its name, its default and its reason."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.schedule import INLINE_BYTES_MAX, SLA_MS_MAX


@dataclass(frozen=True)
class Limits:
    """Limits of one engine. Raises ValueError for one below 1."""

    open_mailboxes_max: int = 1_000_000
    """Open requests. One more is answered with the default at once ("overloaded")."""

    wait_ms_max: int = SLA_MS_MAX
    """No request waits longer. Schedules with a longer SLA are refused when they are read, so that
    this cuts only what an old log has recorded."""

    reports_max: int = 256
    """Reports that one mailbox keeps; more models than that do not fit one decision."""

    early_scores_max: int = 100_000
    """Scores that wait for their request. With file streams there are none; other brokers may
    deliver a score first."""

    early_bytes_max: int = 67_108_864
    """Their results together: beyond, half of them go, the older ones."""

    early_ms_max: int = 5_000
    """A score whose request has not come for this long (up to twice of it, or half as long when
    the buffer is full) is dropped and counted as unknown."""

    answered_ids_max: int = 1_000_000
    """Ids of answered requests that are remembered, so that a late score is told from an early
    one, and a request that comes again is not answered again. About 120 bytes each."""

    answered_ms_max: int = 10_000
    """How long they are remembered (up to twice of it, or less when there are too many)."""

    inline_schedules_max: int = 1_000
    """Inline schedules that are kept compiled; QA sends the same one again and again."""

    inline_cache_bytes_max: int = 1_048_576
    """Their JSON together. Compiled, a schedule takes up to some 30 times as much."""

    inline_bytes_max: int = INLINE_BYTES_MAX
    """A longer inline schedule is refused; no proxy accepts a longer one."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"{field.name} = {value!r} is below 1")
