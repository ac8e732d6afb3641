"""Check SIGKILL of any of several writers, at any moment, very often."""

from __future__ import annotations

import random

import pytest
from kill_storm import batch_size, value_of
from survival_children import call
from survival_logs import TOPIC, damage_of, open_log, read_all


def check_storm(path, kills, seed):
    open_log(path, segment_bytes=60_000, lock_timeout_ms=5_000).close()
    told = call("kill_storm", "storm", str(path), kills, 4, seed, deadline_s=3000)
    assert told.get("problem") is None, told
    assert told["ended"] == 0, "a writer ended by itself instead of being killed"
    with open_log(path) as stream, stream.producer() as producer:
        # No live process holds the lock: this append must not wait for a dead one.
        _, last = producer.send(TOPIC, b"after the storm")
        assert stream.end(TOPIC, 0) == last + 1
        reading = read_all(stream)
        assert damage_of(stream) == []
        assert len(stream.segments(TOPIC, 0)) > 1, "no segment was rolled: the test is too tame"
    assert reading.damage == []
    assert reading.lost == []
    assert sorted(reading.records) == list(range(last + 1)), "offsets have gaps"
    assert reading.records.pop(last) == b"after the storm"
    check_records(reading.records, told["acknowledged"], told["writers"], seed)


def check_records(records, acknowledged, writers, seed):
    """Check that everything acknowledged is there once, in order, and nothing that was not sent."""
    sent = [0] * writers
    for offset, writer, number, size in acknowledged:
        assert number == sent[writer], "the pipe itself is out of order"
        sent[writer] += size
        for i in range(size):
            found = records.get(offset + i)
            assert found == value_of(writer, number + i), f"offset {offset + i}: {found!r}"
    turns = [random.Random(seed * 1_000_003 + writer) for writer in range(writers)]
    in_flight = [_next_batch(turn, count) for turn, count in zip(turns, sent, strict=True)]
    found = [0] * writers
    for offset, value in sorted(records.items()):
        writer, number, _ = value.split(b":", 2)
        writer, number = int(writer), int(number)
        assert value == value_of(writer, number), f"offset {offset} holds what nobody sent"
        assert number == found[writer], f"offset {offset}: twice, missing or out of order"
        found[writer] += 1
    for writer in range(writers):
        extra = found[writer] - sent[writer]
        assert 0 <= extra <= in_flight[writer], f"writer {writer}: {extra} records too many"


def _next_batch(turn, acknowledged):
    """Return the size of the batch that was in flight after `acknowledged` values."""
    while True:
        size = batch_size(turn)
        if not acknowledged:
            return size
        acknowledged -= size


def test_writers_killed_at_random_lose_nothing_and_invent_nothing(tmp_path):
    check_storm(tmp_path / "log", 120, 1)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_writers_killed_twenty_thousand_times_lose_nothing(tmp_path):
    for seed in range(100, 140):
        check_storm(tmp_path / f"log-{seed}", 500, seed)
