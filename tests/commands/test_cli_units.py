from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.commands.units import (
    about_size,
    digits,
    format_duration,
    format_size,
    iso_time,
    local_time,
    milliseconds,
    parse_duration_ms,
    parse_duration_ns,
    parse_moment_ns,
    parse_size,
    percent,
)
from rdv.named_times import InvalidQuantity

SECOND = 1_000_000_000
NOW = 1_777_638_600 * SECOND  # 2026-05-01T12:30:00Z


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("50ms", 50_000_000),
        ("10m", 600 * SECOND),
        ("7d", 7 * 86_400 * SECOND),
        ("1w", 7 * 86_400 * SECOND),
        ("1.5h", 5_400 * SECOND),
        ("1h30m", 5_400 * SECOND),
        (" 2 h  5 s ", 7_205 * SECOND),
        ("0.1s", SECOND // 10),
        ("3us", 3_000),
        ("3µs", 3_000),
        ("9NS", 9),
        ("0", 0),
    ],
)
def test_durations(text, expected_ns):
    assert parse_duration_ns(text) == expected_ns


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("10", "unit is missing"),
        ("7x", "no unit 'x'"),
        ("m", "not numbers"),
        ("-5m", "not numbers"),
        ("5m-3s", "not numbers"),
        ("5m30", "unit is missing"),
        ("1e3s", "no unit 'e'"),
        ("0.5ns", "whole number of nanoseconds"),
        ("٣m", "not numbers"),
    ],
)
def test_durations_that_cannot_be_read(text, reason):
    with pytest.raises(InvalidQuantity, match=reason):
        parse_duration_ns(text)


def test_milliseconds_are_whole():
    assert parse_duration_ms("1.5s") == 1500
    with pytest.raises(InvalidQuantity, match="whole number of milliseconds"):
        parse_duration_ms("1us")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("0", 0),
        ("64MiB", 64 * 1024**2),
        ("64M", 64 * 1024**2),
        ("1GB", 1000**3),
        ("1 gib", 1024**3),
        ("1.5KiB", 1536),
        ("2TiB", 2 * 1024**4),
        ("7B", 7),
    ],
)
def test_sizes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a number"),
        ("x", "not a number"),
        ("-1", "not a number"),
        ("1 2", "not a number"),
        ("5Zi", "no unit 'Zi'"),
        ("0.3KiB", "whole number of bytes"),
    ],
)
def test_sizes_that_cannot_be_read(text, reason):
    with pytest.raises(InvalidQuantity, match=reason):
        parse_size(text)


@given(st.integers(0, 10**22))
def test_durations_come_back(duration_ns):
    assert parse_duration_ns(format_duration(duration_ns)) == duration_ns


@given(st.integers(0, 10**22))
def test_sizes_come_back(size_bytes):
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.text())
def test_anything_is_read_or_refused_by_name(text):
    for parse in (parse_duration_ns, parse_size, lambda given: parse_moment_ns(given, NOW)):
        try:
            parse(text)
        except InvalidQuantity as error:
            assert repr(text) in error.text()  # noqa: PT017  or nothing is raised


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_moments_come_back(moment):
    moment = moment.replace(tzinfo=UTC)
    moment_ns = parse_moment_ns(moment.isoformat(), NOW)
    assert parse_moment_ns(iso_time(moment_ns), 0) == moment_ns


def test_moments():
    assert parse_moment_ns("now", NOW) == NOW
    assert parse_moment_ns("10m", NOW) == NOW - 600 * SECOND
    assert parse_moment_ns("2026-05-01T12:30:00Z", 0) == NOW
    assert parse_moment_ns("2026-05-01T14:30:00+02:00", 0) == NOW
    assert parse_moment_ns("2026-05-01T12:30:00", 0) == NOW
    assert parse_moment_ns(str(NOW), 0) == NOW
    assert parse_moment_ns("1900-01-01", NOW) == 0
    assert parse_moment_ns("9999-12-31", NOW) < 2**63
    assert parse_moment_ns("9999w", NOW) == 0
    for number, unit in [(NOW // 10**9, "seconds"), (NOW // 10**6, "milliseconds")]:
        with pytest.raises(InvalidQuantity, match=f"looks like {unit}. Send {NOW} or 2026-05-01T"):
            parse_moment_ns(str(number), NOW)
    with pytest.raises(InvalidQuantity, match="neither an ISO time nor a duration"):
        parse_moment_ns("the day before", NOW)
    with pytest.raises(InvalidQuantity, match="unit is missing"):
        parse_moment_ns("10", NOW)


def test_sizes_durations_and_times_are_formatted_for_people():
    assert about_size(512) == "512 B"
    assert about_size(1536) == "1.5 KiB"
    assert about_size(5 * 1024**5) == "5120.0 TiB"
    assert format_duration(90 * 60 * SECOND) == "90m"
    assert format_duration(0) == "0s"
    assert parse_moment_ns(local_time(NOW), 0) == NOW
    assert local_time(10**30) == iso_time(10**30) == f"{10**30}ns"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (1, "100 %"), (0.938, "93.8 %"), (0.0009997, "0.1 %"), (0.0002, "0.02 %"),
        (0.9997, "99.97 %"), (1e-9, "<0.0001 %"), (1 - 1e-9, ">99.9999 %"), (12.5, "1,250.0 %"),
    ],
)  # fmt: skip
def test_percent_shows_one_decimal_but_never_hides_the_few(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (12.345, "12.3"), (0.09071, "0.0907"), (9.999, "10.0"),
     (-0.5, "-0.500")],
)  # fmt: skip
def test_digits_are_three(value, text):
    assert digits(value) == text


@pytest.mark.parametrize(("value", "text"), [(12.345, "12.3 ms"), (0.045, "45.0 µs"), (0, "0 ms")])
def test_milliseconds_have_their_unit(value, text):
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("today", "2026-05-01"),
        ("Yesterday", "2026-04-30"),
        ("12:30", "2026-05-01T12:30"),
        ("12:31", "2026-04-30T12:31"),
        ("9:05:07", "2026-05-01T09:05:07"),
        ("11:37Z", "2026-05-01T11:37Z"),
        ("14:30+02:00", "2026-05-01T12:30Z"),
        ("14:31+02:00", "2026-04-30T12:31Z"),
        ("01:00+13:00", "2026-05-01T12:00Z"),
        ("23:00-05:00", "2026-05-01T04:00Z"),
    ],
)
def test_days_and_times_of_day(text, iso):
    assert parse_moment_ns(text, NOW) == parse_moment_ns(iso, 0)


@pytest.mark.parametrize("text", ["25:00", "24:00", "11:60", "11", "11:3", "last week", "tomorrow"])
def test_times_that_are_none(text):
    with pytest.raises(InvalidQuantity) as caught:
        parse_moment_ns(text, NOW)
    assert "yesterday, 11:37" in caught.value.hint()
