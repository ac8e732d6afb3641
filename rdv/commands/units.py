"""Read and write durations, sizes, times and shares. Pure: the current time is an argument."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from rdv.commands.errors import InvalidQuantity
from rdv.moment import LATEST_NS, InvalidMoment, Moment, iso_utc, read_moment

_MS_NS = 1_000_000
_SECOND_NS = 1_000_000_000
_DURATION_NS = {
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
_SIZE_BYTES = {
    "": 1,
    "b": 1,
    **{prefix + "b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{prefix + "ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
    **{prefix: 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_PERCENT_DECIMALS_MAX = 4
_MS_MIN = 0.1
"""Shorter times than this many ms are shown in µs."""
_NUMBER = r"(\d{1,30}(?:\.\d{1,30})?)"
_DURATION_PART = re.compile(_NUMBER + r"\s*([a-zµ]+)\s*", re.ASCII | re.IGNORECASE)
_SIZE = re.compile(_NUMBER + r"\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_DURATION_EXAMPLE = "50ms, 30s, 10m, 1h30m, 7d"
_SIZE_EXAMPLE = "4096, 64MiB, 1GB"
_TIME_EXAMPLE = "10m (ago), yesterday, 11:37, 2026-05-01 (UTC), 2026-05-01T14:30:00+02:00"
_DAYS_AGO = {"today": 0, "yesterday": 1}
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d(?::\d\d)? ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_EPOCH_DIGITS = 9
"""The least digits of a time since 1970; a shorter number is a duration without a unit."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration_ns(text: str) -> int:
    """Return the nanoseconds of `50ms`, `1.5h` or `1h30m`. Raises InvalidQuantity."""
    rest = text.strip()
    if rest == "0":
        return 0
    if not rest:
        raise InvalidQuantity("duration", text, "it is empty", _DURATION_EXAMPLE)
    total = Fraction(0)
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            is_number = _is_number(rest)
            reason = "a unit is missing" if is_number else "it is not numbers with units"
            raise InvalidQuantity("duration", text, reason, _DURATION_EXAMPLE, is_number)
        unit = _DURATION_NS.get(part[2].lower())
        if unit is None:
            reason = f"no unit {part[2]!r}; there are ns, us, ms, s, m, h, d and w"
            raise InvalidQuantity("duration", text, reason, _DURATION_EXAMPLE)
        total += Fraction(part[1]) * unit
        rest = rest[part.end() :]
    if total.denominator != 1:
        reason = "it is not a whole number of nanoseconds"
        raise InvalidQuantity("duration", text, reason, _DURATION_EXAMPLE)
    return int(total)


def parse_duration_ms(text: str) -> int:
    """Return the whole milliseconds of a duration. Raises InvalidQuantity."""
    duration_ns = parse_duration_ns(text)
    if duration_ns % _MS_NS:
        reason = "it is not a whole number of milliseconds"
        raise InvalidQuantity("duration", text, reason, _DURATION_EXAMPLE)
    return duration_ns // _MS_NS


def format_duration(duration_ns: int) -> str:
    """Return the shortest exact form of a duration in one unit: `7d`, `90m`, `50ms`."""
    if not duration_ns:
        return "0s"
    unit, size = next((u, s) for u, s in _DURATION_NS.items() if u != "w" and not duration_ns % s)
    return f"{duration_ns // size}{unit}"


def parse_size(text: str) -> int:
    """Return the bytes of `4096`, `64MiB` or `1GB` (1000s); K, M, G, T alone are powers of 1024.

    Raises InvalidQuantity.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidQuantity("size", text, "it is not a number with a unit", _SIZE_EXAMPLE)
    unit = _SIZE_BYTES.get(match[2].lower())
    if unit is None:
        reason = f"no unit {match[2]!r}; there are B, kB, KiB, MB, MiB, GB, GiB, TB and TiB"
        raise InvalidQuantity("size", text, reason, _SIZE_EXAMPLE)
    size = Fraction(match[1]) * unit
    if size.denominator != 1:
        raise InvalidQuantity("size", text, "it is not a whole number of bytes", _SIZE_EXAMPLE)
    return int(size)


def format_size(size_bytes: int) -> str:
    """Return the shortest exact form of a size in one unit: `64MiB`, `1000B`."""
    power = 0
    while size_bytes and not size_bytes % 1024 and power < len(_BINARY_UNITS) - 1:
        size_bytes //= 1024
        power += 1
    return f"{size_bytes}{_BINARY_UNITS[power]}"


def about_size(size_bytes: int) -> str:
    """Return a size for people, to about three digits: `1.5 MiB`."""
    value, power = float(size_bytes), 0
    while value >= 1024 and power < len(_BINARY_UNITS) - 1:  # noqa: PLR2004  a KiB
        value /= 1024
        power += 1
    return f"{value:.1f} {_BINARY_UNITS[power]}" if power else f"{size_bytes} B"


def percent(share: float) -> str:
    """Return a share in per cent: `93.8 %`, `0.02 %`, `99.97 %`.

    One decimal, and more only near 0 % and 100 %, so that few are not shown as none.
    """
    value = 100 * share
    distance = min(abs(value), abs(100 - value))
    if not distance or not math.isfinite(value):
        return f"{value:g} %"
    decimals = max(1, -math.floor(math.log10(float(f"{distance:.1g}"))))
    if decimals > _PERCENT_DECIMALS_MAX:
        return "<0.0001 %" if value < 50 else ">99.9999 %"  # noqa: PLR2004  the nearer end
    return f"{value:,.{decimals}f} %"


def digits(value: float) -> str:
    """Return a number with three significant digits: `1,234`, `12.3`, `0.0907`."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    decimals = min(max(0, 2 - math.floor(math.log10(abs(rounded)))), 9)
    return f"{value:,.{decimals}f}"


def milliseconds(value: float) -> str:
    """Return a time in ms with its unit: `12.3 ms`, `45.0 µs`."""
    return (
        f"{digits(value)} ms" if abs(value) >= _MS_MIN or not value else f"{digits(value * 1e3)} µs"
    )


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


def assumed_utc(option: str, text: str, time_ns: int) -> str:
    """Return the note for a time without a zone."""
    return (
        f"{option} {text} is read as UTC, {iso_utc(time_ns)}; "
        "add a zone, such as +02:00, for another"
    )


def _ago_ns(text: str) -> int:
    try:
        return parse_duration_ns(text)
    except InvalidQuantity as error:
        if error.is_unit_missing:
            raise InvalidQuantity("time", text, error.reason, _TIME_EXAMPLE) from None
        reason = "it is neither an ISO time nor a duration"
        raise InvalidQuantity("time", text, reason, _TIME_EXAMPLE) from None


def iso_time(time_ns: int) -> str:
    """Return `2026-05-01T12:30:00.123456Z`, for any year: a wrong clock must not make this fail."""
    try:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return f"{time_ns}ns"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def local_time(time_ns: int) -> str:
    """Return `2026-05-01 14:30:00.123+02:00`: local time with its zone, which options read."""
    try:
        moment = (_EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{time_ns}ns"
    return moment.isoformat(" ", "milliseconds")


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text) is not None
