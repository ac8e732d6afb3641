"""Read the durations and times that people name: `50ms`, `7d` (ago), `yesterday`, `11:37`. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from rdv.errors import InputFault
from rdv.moment import LATEST_NS, InvalidMoment, Moment, read_moment

_MS_NS = 1_000_000
_SECOND_NS = 1_000_000_000
DURATION_NS = {
    "w": 7 * 86_400 * _SECOND_NS,
    "d": 86_400 * _SECOND_NS,
    "h": 3_600 * _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "s": _SECOND_NS,
    "ms": _MS_NS,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}
NUMBER = r"(\d{1,30}(?:\.\d{1,30})?)"
DURATION_EXAMPLE = "50ms, 30s, 10m, 1h30m, 7d"
_DURATION_PART = re.compile(NUMBER + r"\s*([a-zµ]+)\s*", re.ASCII | re.IGNORECASE)
_TIME_EXAMPLE = "10m (ago), yesterday, 11:37, 2026-05-01 (UTC), 2026-05-01T14:30:00+02:00"
_DAYS_AGO = {"today": 0, "yesterday": 1}
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d(?::\d\d)? ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_EPOCH_DIGITS = 9
"""The least digits of a time since 1970; a shorter number is a duration without a unit."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidQuantity(InputFault):
    """A duration, a size or a time cannot be read."""

    kind: str
    given: str
    reason: str
    example: str
    is_unit_missing: bool = False

    _text = "{given!r} is not a {kind}: {reason}"
    _hint = "For example {example}."


def parse_duration_ns(text: str) -> int:
    """Return the nanoseconds of `50ms`, `1.5h` or `1h30m`. Raises InvalidQuantity."""
    rest = text.strip()
    if rest == "0":
        return 0
    if not rest:
        raise InvalidQuantity("duration", text, "it is empty", DURATION_EXAMPLE)
    total = Fraction(0)
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            is_number = _is_number(rest)
            reason = "a unit is missing" if is_number else "it is not numbers with units"
            raise InvalidQuantity("duration", text, reason, DURATION_EXAMPLE, is_number)
        unit = DURATION_NS.get(part[2].lower())
        if unit is None:
            reason = f"no unit {part[2]!r}; there are ns, us, ms, s, m, h, d and w"
            raise InvalidQuantity("duration", text, reason, DURATION_EXAMPLE)
        total += Fraction(part[1]) * unit
        rest = rest[part.end() :]
    if total.denominator != 1:
        reason = "it is not a whole number of nanoseconds"
        raise InvalidQuantity("duration", text, reason, DURATION_EXAMPLE)
    return int(total)


def parse_moment_ns(text: str, now_ns: int) -> int:
    """Return the nanoseconds since 1970 of a time that a person names.

    It is `now`, `today` and `yesterday` (their midnight), `11:37` (the latest one), a duration
    (ago), or what `rdv.moment` reads.

    Bounds beyond the range of record times are moved to the nearest possible time. Raises
    InvalidQuantity.
    """
    return bound_of(text, now_ns).time_ns


def bound_of(text: str, now_ns: int) -> Moment:
    """Return what `parse_moment_ns` returns, and whether UTC was assumed."""
    stripped = text.strip()
    if stripped.lower() == "now":
        return Moment(now_ns)
    if (days_ago := _DAYS_AGO.get(stripped.lower())) is not None:
        midnight = (_EPOCH + timedelta(microseconds=now_ns // 1000)).date() - timedelta(days_ago)
        stripped = midnight.isoformat()
    if _TIME_OF_DAY.fullmatch(stripped):
        return _latest(stripped, now_ns)
    try:
        found = read_moment(stripped)
    except InvalidMoment as error:
        if stripped.isascii() and stripped.isdigit() and len(stripped) >= _EPOCH_DIGITS:
            reason = f"{error.reason}. {error.advice}".strip()
            raise InvalidQuantity("time", text, reason, _TIME_EXAMPLE) from None
        return Moment(max(0, now_ns - _ago_ns(text)))
    return Moment(min(max(0, found.time_ns), LATEST_NS), found.is_assumed_utc)


def _latest(time_of_day: str, now_ns: int) -> Moment:
    """Return the latest moment, not in the future, at this time of day. Raises InvalidQuantity."""
    now = _EPOCH + timedelta(microseconds=now_ns // 1000)
    hour, rest = time_of_day.split(":", 1)
    found: list[Moment] = []
    try:
        for days in (-1, 0, 1):  # tomorrow's date may have begun in its zone
            date = (now + timedelta(days)).date()
            found.append(read_moment(f"{date}T{hour:0>2}:{rest}"))
    except InvalidMoment as error:
        raise InvalidQuantity("time", time_of_day, error.reason, _TIME_EXAMPLE) from None
    return max(moment for moment in found if moment.time_ns <= now_ns)


def _ago_ns(text: str) -> int:
    try:
        return parse_duration_ns(text)
    except InvalidQuantity as error:
        if error.is_unit_missing:
            raise InvalidQuantity("time", text, error.reason, _TIME_EXAMPLE) from None
        reason = "it is neither an ISO time nor a duration"
        raise InvalidQuantity("time", text, reason, _TIME_EXAMPLE) from None


def _is_number(text: str) -> bool:
    return re.fullmatch(NUMBER, text) is not None
