"""Check the one rule for times: plausible ones are read alike everywhere, others are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.moment import (
    AHEAD_NS_MAX,
    EARLIEST_NS,
    LATEST_NS,
    InvalidMoment,
    counts_from_ns,
    known_since_ns,
    read_moment,
)

NOW_NS = 1_777_638_600 * 10**9
"""The time 2026-05-01T12:30:00Z, in ns."""


@pytest.mark.parametrize(
    ("given", "is_assumed_utc"),
    [
        (NOW_NS, False),
        (str(NOW_NS), False),
        (f" {NOW_NS} ", False),
        ("2026-05-01T12:30:00Z", False),
        ("2026-05-01t12:30:00z", False),
        ("2026-05-01 12:30:00,000000000Z", False),
        ("2026-05-01T14:30:00 +02", False),
        ("2026-W18-5T12:30Z", False),
        ("2026-05-01T14:30:00+02:00", False),
        ("20260501T123000Z", False),
        ("2026-05-01T12:30", True),
        ("2026-05-01 12:30:00.000", True),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_what_names_the_same_time(given, is_assumed_utc, zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    assert read_moment(given) == (NOW_NS, is_assumed_utc)
    assert known_since_ns(given, NOW_NS) == NOW_NS


def test_a_date_of_eight_digits_is_a_date():
    assert read_moment("20260501") == read_moment("2026-05-01")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0, "between the years 2000 and 2262"),
        (-1, "between the years 2000 and 2262"),
        (12, "between the years 2000 and 2262"),
        (NOW_NS // 10**9, "looks like seconds"),
        (NOW_NS // 10**6, "looks like milliseconds"),
        (NOW_NS // 10**3, "looks like microseconds"),
        (str(NOW_NS // 10**9), "looks like seconds"),
        (2**63, "between the years 2000 and 2262"),
        (10**400, "between the years 2000 and 2262"),
        ("9" * 5_000, "between the years 2000 and 2262"),
        ("1969-12-31T23:59:59Z", "before the year 2000"),
        ("0001-01-01T00:00:00+14:00", "before the year 2000"),
        ("2026-05-01T12:36:00Z", "in the future"),
        ("2263-01-01", "in the future"),
        ("9999-12-31T23:59:59-14:00", "in the future"),
        (2**62, "in the future"),
        ("", "neither ISO 8601 nor"),
        ("soon", "neither ISO 8601 nor"),
        ("2026-13-01", "no such date or time"),
        ("2026-02-30T10:00Z", "no such date or time"),
        ("2026-04-30T24:00:00Z", "hour must be in 0..23"),
        ("2016-12-31T23:59:60Z", "second must be in 0..59"),
        ("2026-05-01T10:00:00+24:00", "no such date or time"),
        ("2026-05-01110:00", "neither ISO 8601 nor"),
        ("2026-05-01x10:00", "neither ISO 8601 nor"),
        ("2026-05-01\n10:00", "neither ISO 8601 nor"),
        ("2026-05-01T10:00:00Z\0", "neither ISO 8601 nor"),
        ("2026-05-01T10:00:00\0+01:00", "neither ISO 8601 nor"),
        ("2026-05-01T10:00:00+01:00:30", "neither ISO 8601 nor"),
        ("2026-05-01T10:00:00[Europe/Berlin]", "neither ISO 8601 nor"),
        ("2026-05-01T10:00:00\u221201:00", "neither ISO 8601 nor"),
        ("1777638600.5", "neither ISO 8601 nor"),
        ("-5", "neither ISO 8601 nor"),
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669", "neither ISO 8601 nor"),
    ],
)
def test_what_cannot_be_meant(given, said):
    with pytest.raises(InvalidMoment) as caught:
        known_since_ns(given, NOW_NS)
    assert said in caught.value.text()
    assert caught.value.hint()


def test_a_local_time_without_its_zone_is_caught_when_it_is_ahead():
    with pytest.raises(InvalidMoment) as caught:
        known_since_ns("2026-05-01T14:30:00", NOW_NS)  # as a clock in Berlin shows it
    assert "A time without a zone is UTC" in caught.value.hint()


zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(datetime(2000, 1, 2), datetime(2261, 1, 1)), zones)  # noqa: DTZ001
def test_every_zone_is_read(moment, zone):
    text = moment.replace(tzinfo=UTC).astimezone(zone).isoformat()
    found = read_moment(text)
    assert found == read_moment(moment.isoformat() + "Z")
    assert EARLIEST_NS <= found.time_ns <= LATEST_NS
    assert read_moment(found.time_ns) == found


@given(st.integers(-(2**65), 2**65) | st.text(max_size=24) | st.datetimes().map(str))
def test_whatever_is_taken_can_be_meant(given):
    try:
        time_ns = known_since_ns(given, NOW_NS)
    except InvalidMoment as error:
        assert error.text()  # noqa: PT017
    else:
        assert EARLIEST_NS <= time_ns <= NOW_NS + AHEAD_NS_MAX


@given(st.none() | st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 2), st.integers(1, 1000))
def test_whatever_its_time_an_outcome_can_be_corrected(time_ns, append_ns, later):
    correction = counts_from_ns(None, append_ns + later)
    assert counts_from_ns(time_ns, append_ns) < correction
