"""Read and write durations, sizes, times and shares. Pure: the current time is an argument."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from rdv.moment import iso_utc
from rdv.named_times import (
    DURATION_EXAMPLE,
    DURATION_NS,
    NUMBER,
    InvalidQuantity,
    bound_of,
    parse_duration_ns,
    parse_moment_ns,
)

__all__ = [
    "about_size", "assumed_utc", "bound_of", "digits", "format_duration", "format_size", "iso_time",
    "local_time", "milliseconds", "parse_duration_ms", "parse_duration_ns", "parse_moment_ns",
    "parse_size", "percent",
]  # fmt: skip

_MS_NS = 1_000_000
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
_SIZE = re.compile(NUMBER + r"\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_SIZE_EXAMPLE = "4096, 64MiB, 1GB"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration_ms(text: str) -> int:
    """Return the whole milliseconds of a duration. Raises InvalidQuantity."""
    duration_ns = parse_duration_ns(text)
    if duration_ns % _MS_NS:
        reason = "it is not a whole number of milliseconds"
        raise InvalidQuantity("duration", text, reason, DURATION_EXAMPLE)
    return duration_ns // _MS_NS


def format_duration(duration_ns: int) -> str:
    """Return the shortest exact form of a duration in one unit: `7d`, `90m`, `50ms`."""
    if not duration_ns:
        return "0s"
    unit, size = next((u, s) for u, s in DURATION_NS.items() if u != "w" and not duration_ns % s)
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


def assumed_utc(option: str, text: str, time_ns: int) -> str:
    """Return the note for a time without a zone."""
    return (
        f"{option} {text} is read as UTC, {iso_utc(time_ns)}; "
        "add a zone, such as +02:00, for another"
    )


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
