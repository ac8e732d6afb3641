"""A start says where a consumer begins in a partition without a committed offset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rdv.clock import Clock
from rdv.stream.backend import Backend
from rdv.stream.errors import InvalidArgument
from rdv.stream.record import TopicPartition


@dataclass(frozen=True)
class Recent:
    """A `Recent` is `ms` before now, or before the partition's newest record if it is older.

    It is for readers that must miss nothing: a clock that has been set forward does not hide what
    was appended before.
    """

    ms: int


Start = Literal["earliest", "latest"] | int | datetime | timedelta | Recent
"""An offset is an int; a time is an aware datetime, or a timedelta before now."""


def check_start(start: object) -> None:
    """Raise InvalidArgument when `start` is not a place to start from."""
    if isinstance(start, bool) or not isinstance(start, str | int | datetime | timedelta | Recent):
        raise InvalidArgument("start", start, "give 'earliest', 'latest', an offset or a time")
    if isinstance(start, str) and start not in ("earliest", "latest"):
        raise InvalidArgument("start", start, "the words are 'earliest' and 'latest'")
    if isinstance(start, int) and start < 0:
        raise InvalidArgument("start", start, "an offset is 0 or more")
    if isinstance(start, datetime) and start.tzinfo is None:
        raise InvalidArgument("start", start, "a datetime needs a time zone")


def start_offset(backend: Backend, place: TopicPartition, start: Start, clock: Clock) -> int:
    """Return the offset to start at, within the existing offsets of the partition."""
    if start == "latest":
        return backend.end(place)
    begin = backend.begin(place)
    if isinstance(start, int):
        return min(max(start, begin), backend.end(place))
    if isinstance(start, datetime):
        return backend.offset_at(place, int(start.timestamp() * 1e6) * 1000)
    if isinstance(start, Recent):
        return _recent_offset(backend, place, start, clock)
    if isinstance(start, timedelta):
        since_ns = clock.wall_ns() - int(start.total_seconds() * 1e9)
        return backend.offset_at(place, since_ns)
    return begin


def _recent_offset(backend: Backend, place: TopicPartition, start: Recent, clock: Clock) -> int:
    newest_ns = backend.newest_ns(place)
    if newest_ns is None:
        return backend.begin(place)
    since_ns = min(newest_ns, clock.wall_ns()) - start.ms * 1_000_000
    return backend.offset_at(place, max(0, since_ns))
