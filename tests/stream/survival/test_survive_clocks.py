"""Check retention by time with writers whose clocks are wrong, in processes of their own."""

from __future__ import annotations

import time

import pytest
from survival_children import Child, hear, say
from survival_logs import TOPIC, open_log

RETENTION_MS = 2_000
YEAR_S = 365 * 24 * 3600
SETTINGS = {"segment_bytes": 300, "retention_ms": RETENTION_MS}


def write_with_a_clock_that_is_off(path, seconds):
    """Append ten records at each line from the parent, which seals segments, and purge."""
    from rdv.clock import SystemClock

    SystemClock.wall_ns = staticmethod(lambda: time.time_ns() + seconds * 10**9)
    with open_log(path) as stream, stream.producer() as producer:
        say("ready")
        while hear():
            last = [producer.send(TOPIC, b"%020d\n" % n)[1] for n in range(10)][-1]
            stream.purge(TOPIC, 0)
            say(last)


@pytest.mark.parametrize("steps", [(YEAR_S, 0), (0, -YEAR_S), (YEAR_S, -YEAR_S)])
def test_no_clock_deletes_a_record_early_or_keeps_it_for_long(tmp_path, steps):
    """Two writers take turns; this process's own clock measures the age of their records."""
    path, written_s = tmp_path / "log", {}
    with open_log(path, **SETTINGS) as stream:
        stream.make_topic(TOPIC)
        arguments = "test_survive_clocks", "write_with_a_clock_that_is_off", str(path)
        with Child(*arguments, steps[0]) as one, Child(*arguments, steps[1]) as other:
            for child in (one, other):
                assert child.expect() == "ready"
            begun_s = time.monotonic()
            begin = 0
            # Go on until the records of the first second are gone, long after their retention.
            while begin <= max((o for o, s in written_s.items() if s < begun_s + 1), default=0):
                for child in (one, other):
                    now_s = time.monotonic()
                    child.tell(True)
                    written_s[child.expect()] = now_s
                begin = stream.begin(TOPIC, 0)
                now_s = time.monotonic()
                for offset in [offset for offset in written_s if offset < begin]:
                    assert now_s - written_s[offset] >= RETENTION_MS / 1000, offset
                assert now_s < begun_s + 45, "nothing is deleted"
                time.sleep(0.1)
