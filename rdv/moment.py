"""These functions read times from people and programs by one rule. Pure, thread-safe.

- ISO 8601 with a zone: 2026-05-01T14:30:00+02:00, 2026-05-01T12:30:00Z.
- ISO 8601 without a zone is UTC, on every machine and over HTTP: 2026-05-01, 2026-05-01T12:30.
  Python's own reader also accepts impossible forms (any letter for the T, a NUL), so the form is
  checked first. A clock has no leap seconds and no 24:00.
- A whole number is nanoseconds since 1970, UTC, and lies between EARLIEST_NS and LATEST_NS: one in
  seconds, milliseconds or microseconds would be in 1970, and is refused.

Commands also take durations ("10m": ten minutes ago), see `rdv.commands.units`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from rdv.errors import InputFault

_SECOND_NS: Final = 10**9
EARLIEST_NS: Final = 946_684_800 * _SECOND_NS
"""2000-01-01. Nothing that rdv decides about became known before."""

LATEST_NS: Final = 9_214_646_400 * _SECOND_NS
"""2262-01-01: later times do not fit into the 64 bits of a record."""

AHEAD_NS_MAX: Final = 300 * _SECOND_NS
"""How far in the future the time of something known may be, in nanoseconds, as clocks may
differ.
"""

EXAMPLE: Final = "2026-05-01T12:30:00Z, 2026-05-01T14:30:00+02:00 or 2026-05-01 (UTC)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BASIC_DATE_DIGITS = 8
_ISO = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)"
    r"(?:[T ](?P<hour>\d\d)(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)? ?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_UNITS = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))


class InvalidMoment(InputFault):
    """A time cannot be parsed, or is impossible."""

    given: str
    reason: str
    advice: str = ""

    _text = "{given} is not a time that can be used: {reason}"

    def hint(self) -> str:
        return self.advice or f"For example {EXAMPLE}."


class Moment(NamedTuple):
    """A `Moment` is nanoseconds since 1970, and whether UTC was assumed as no zone was named."""

    time_ns: int
    is_assumed_utc: bool = False


def read_moment(given: int | str) -> Moment:
    """Return the time that a number or a text names, in any year. Raises InvalidMoment."""
    if not isinstance(given, str):
        return Moment(_checked_number(given))
    text = given.strip()
    if text.isascii() and text.isdigit() and len(text) != _BASIC_DATE_DIGITS:
        return Moment(_checked_number(int(text) if len(text) < len(str(2**64)) else LATEST_NS + 1))
    moment = _read_iso(text.upper(), given)
    is_assumed_utc = moment.tzinfo is None
    if is_assumed_utc:
        moment = moment.replace(tzinfo=UTC)
    return Moment((moment - _EPOCH) // timedelta(microseconds=1) * 1000, is_assumed_utc)


def _read_iso(text: str, given: str) -> datetime:
    matched = _ISO.fullmatch(text)
    if matched is None:
        reason = "it is neither ISO 8601 nor whole nanoseconds since 1970"
        raise InvalidMoment(shown(given), reason)
    try:
        if matched["hour"] == "24":  # which some versions of Python read
            raise ValueError("hour must be in 0..23")  # noqa: TRY301
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidMoment(shown(given), f"there is no such date or time: {error}") from None


def known_since_ns(given: int | str, now_ns: int) -> int:
    """Return when something became known: not before 2000, nor more than AHEAD_NS_MAX after now.

    Raises InvalidMoment.
    """
    time_ns, is_assumed_utc = read_moment(given)
    if time_ns < EARLIEST_NS:
        raise InvalidMoment(shown(given), "it is before the year 2000")
    if time_ns > now_ns + AHEAD_NS_MAX:
        reason = f"it is in the future: {iso_utc(time_ns)}, and now it is {iso_utc(now_ns)}"
        advice = ""
        if is_assumed_utc:
            advice = "A time without a zone is UTC: add the zone, as in 2026-05-01T14:30:00+02:00."
        raise InvalidMoment(shown(given), reason, advice or "Send when it became known.")
    return time_ns


def counts_from_ns(time_ns: int | None, append_ns: int) -> int:
    """Return when a recorded outcome counts from: its own time, but never later than its arrival.

    So an outcome with a time in the future, which 0.1.0 has accepted, is corrected by a later one.
    """
    return append_ns if time_ns is None else min(time_ns, append_ns)


def iso_utc(time_ns: int) -> str:
    """Return `2026-05-01T12:30:00Z`, to the second; nanoseconds when the year is out of range."""
    try:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return f"{time_ns} ns"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(given: int | str) -> str:
    """Return the given value, short enough for a message."""
    return (repr(given) if isinstance(given, str) else str(given))[:60]


def _checked_number(number: int) -> int:
    if EARLIEST_NS <= number <= LATEST_NS:
        return number
    for unit, factor in _UNITS:
        if EARLIEST_NS <= number * factor <= LATEST_NS:
            right_ns = number * factor
            reason = f"a number is nanoseconds since 1970, and this looks like {unit}"
            raise InvalidMoment(str(number), reason, f"Send {right_ns} or {iso_utc(right_ns)}.")
    reason = "a number is nanoseconds since 1970, between the years 2000 and 2262"
    raise InvalidMoment(str(number)[:60], reason)
