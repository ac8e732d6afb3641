"""The engine's limits (each with its name, default and reason), counters and error."""

from __future__ import annotations

from dataclasses import dataclass, fields

import msgspec

from rdv.errors import InputFault
from rdv.rendezvous.schedule import INLINE_BYTES_MAX, SLA_MS_MAX


@dataclass(frozen=True)
class Limits:
    """A `Limits` holds the limits of one engine. Raises ValueError for one below 1."""

    open_mailboxes_max: int = 1_000_000
    """The maximum number of open requests; one more gets the default at once ("overloaded")."""

    wait_ms_max: int = SLA_MS_MAX
    """The maximum wait of a request in milliseconds. Schedules with a longer SLA are refused when
    they are read, so this affects only old recorded requests."""

    reports_max: int = 256
    """The maximum number of reports in one mailbox: no decision has more models."""

    early_scores_max: int = 100_000
    """The maximum number of scores that wait for their request. With file streams there are none;
    other brokers may deliver a score first."""

    early_bytes_max: int = 67_108_864
    """The maximum size of their results in bytes: beyond it, the older half is dropped."""

    early_ms_max: int = 5_000
    """How long a score waits for its request, in milliseconds (up to twice as long, or half as long
    when the buffer is full). Then it is dropped and counted as unknown."""

    answered_ids_max: int = 1_000_000
    """The maximum number of ids of answered requests that are kept, to tell a late score from an
    early one, and not to answer a repeated request again. About 120 bytes each."""

    answered_ms_max: int = 10_000
    """How long they are kept, in milliseconds (up to twice as long, or less for lack of space)."""

    inline_schedules_max: int = 1_000
    """The maximum number of inline schedules kept compiled; QA sends the same one repeatedly."""

    inline_cache_bytes_max: int = 1_048_576
    """The maximum size of their JSON in bytes; compiled, it takes up to about 30 times as much."""

    inline_bytes_max: int = INLINE_BYTES_MAX
    """The maximum size of an inline schedule in bytes; a longer one is refused, as by proxies."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"{field.name} = {value!r} is below 1")


class Counters(msgspec.Struct):
    """A `Counters` has counts since the engine was made.

    The engine's thread writes them; metrics use a copy.
    """

    requests: int = 0
    scores: int = 0
    preferred: int = 0
    fallback: int = 0
    default: int = 0

    expired_on_arrival: int = 0
    """Requests whose deadline had passed when they arrived."""

    overloaded: int = 0
    """Requests that arrived when `open_mailboxes_max` others were open."""

    invalid_schedule: int = 0
    """Requests that named an unknown schedule, or carried an invalid one."""

    duplicate_requests: int = 0
    duplicate_scores: int = 0
    """Second reports of the same model on an open request: the first one counts."""

    late: int = 0
    """Scores that came after the decision, as is normal: most models are not the fastest."""

    early: int = 0
    """Scores that came before their request."""

    unknown: int = 0
    """Early scores whose request never came."""

    evicted: int = 0
    """Scores that were dropped for lack of space: early ones, or more than `reports_max`."""

    malformed: int = 0
    """Records that the server could not read, as it has reported."""


class UnknownSchedule(InputFault):
    """The live schedule is not among the schedules."""

    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"there is no schedule {self.name!r}; there are: {', '.join(self.known) or 'none'}"
