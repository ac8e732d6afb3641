"""Check that `rdv ab` counts only the time since the cohorts last changed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.timeout(300)]


def ask_all(rdv, count):
    for number in range(count):
        outcome = rdv("ask", "fraud", '{"amount": 1}', "--key", f"key-{number}")
        assert outcome.code == 0, outcome.err


def counted(rdv):
    outcome = rdv("ab", "fraud", "--metric", "default", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.row()
    return sum(arm["requests"] for arm in found["arms"]), found


def test_the_time_before_the_cohorts_does_not_count(rdv, serve, decision):
    settings = Path("fraud/rdv.toml")
    plain = settings.read_text()
    served = serve()
    ask_all(rdv, 12)
    settings.write_text(plain + '\n[cohorts.b]\nshare = 0.5\nschedule = "ab"\n')
    served.until("in force now: .*cohorts.b")
    asked = ask_until_dealt(rdv)
    before, found = counted(rdv)
    assert before <= asked
    assert found["in_force_since_ns"] == found["since_ns"]
    assert "when the cohorts became what they are now" in " ".join(found["caveats"])
    ask_all(rdv, 8)
    assert counted(rdv)[0] == before + 8
    # A restart does not begin a new experiment.
    assert served.end() == 0
    served = serve()
    ask_all(rdv, 3)
    assert counted(rdv)[0] == before + 11
    # Another share begins a new one, and so does an edit of the cohort's schedule.
    settings.write_text(plain + '\n[cohorts.b]\nshare = 0.7\nschedule = "ab"\n')
    served.until("in force now: .*cohorts.b.share")
    schedule = Path("fraud/schedules/ab.toml")
    asked = ask_until_dealt(rdv)
    assert counted(rdv)[0] <= asked
    schedule.write_text(schedule.read_text().replace("sla_ms = ", "sla_ms = 1"))
    served.until("in force now: .*schedule ab@")
    ask_all(rdv, 6)
    assert 1 <= counted(rdv)[0] <= 6
    assert served.end() == 0


TRIES = 200


def ask_until_dealt(rdv):
    """Ask until the proxy, which applies the edit a moment later, assigns keys to the cohort.

    Returns how many requests were asked. How many of them count depends on when the server
    applied the edit, so it is an upper bound.
    """
    for number in range(TRIES):
        row = rdv("ask", "fraud", '{"amount": 1}', "--key", f"key-{number}").row()
        if row["schedule"].startswith("ab@"):
            # The server may apply the edit after the proxy; it records since when it is in force.
            ask_all(rdv, 3)
            return number + 4
    raise AssertionError("no key was dealt to the cohort")
