"""Check SIGKILL of a writer at every change that it makes to a file, and within each write.

Before a change is after the one before it: only a part of these are tried outside `make soak`.
"""

from __future__ import annotations

import os
import signal

import pytest
from survival_children import call, say
from survival_disks import KillingDisk, QuietDisk, StepDisk
from survival_logs import TOPIC, assert_sound, open_log, partition_directory, restore, snapshot
from sweep import part_of

from rdv.stream import StreamConfig, open_stream
from rdv.system import disk as disks
from rdv.system.disk import Disk

pytestmark = pytest.mark.sweep

SETTINGS = {"segment_bytes": 150, "lock_timeout_ms": 2_000}
BATCHES = [
    [b"one"],
    [b"", b"two" * 20, b"three"],
    [b"a value of more than a segment " * 6],
    [b"four"],
    [b"%d" % i * 11 for i in range(12)],
    [b""],
    [b"the last one"],
]


def send_batches(path, disk, acknowledge):
    with open_log(path, disk) as stream, stream.producer() as producer:
        for number, batch in enumerate(BATCHES):
            _, offset = producer.send_many(TOPIC, batch)
            acknowledge(number, offset)


def killed_run(path, at, when):
    """Kill a writer at change `at`; return the acknowledged offsets by number of their batch."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            send_batches(path, KillingDisk(at, when), lambda n, o: os.write(theirs, bytes((n, o))))
        finally:
            os._exit(1)
    os.close(theirs)
    _, status = os.waitpid(pid, 0)
    data = os.read(ours, 4096)
    os.close(ours)
    assert os.WIFSIGNALED(status), f"change {at} does not exist"
    assert os.WTERMSIG(status) == signal.SIGKILL
    return dict(zip(data[::2], data[1::2], strict=True))


def check_state(path, acknowledged):
    """Check for acknowledged batches, then at most the one in flight, then new records."""
    everything = [value for batch in BATCHES for value in batch]
    expected = [value for batch in BATCHES[: len(acknowledged)] for value in batch]
    in_flight = len(BATCHES[len(acknowledged)]) if len(acknowledged) < len(BATCHES) else 0
    offset = 0
    for number, batch in enumerate(BATCHES[: len(acknowledged)]):
        assert acknowledged[number] == offset
        offset += len(batch)
    with open_log(path, QuietDisk()) as stream:
        end = stream.end(TOPIC, 0)
        assert len(expected) <= end <= len(expected) + in_flight
        assert_sound(stream, dict(enumerate(everything[:end])))
        with stream.producer() as producer:
            assert producer.send(TOPIC, b"afterwards") == (0, end)
            assert producer.send_many(TOPIC, [b"", b"x" * 200]) == (0, end + 1)
    with open_log(path, QuietDisk()) as stream:
        after = [*everything[:end], b"afterwards", b"", b"x" * 200]
        assert_sound(stream, dict(enumerate(after)))


def kill_at_every_change(path, when, fsync):
    stream = open_log(path, fsync=fsync, **SETTINGS)
    stream.make_topic(TOPIC, 1)
    stream.close()
    empty = snapshot(partition_directory(path))
    counting = StepDisk()
    send_batches(path, counting, lambda n, o: None)
    for at in part_of(range(1, counting.count + 1), 5 if when == "before" else 1):
        restore(partition_directory(path), empty)
        acknowledged = killed_run(path, at, when)
        try:
            check_state(path, acknowledged)
        except BaseException as error:
            raise AssertionError(f"killed {when} change {at}: {error}") from error
    say(counting.count)


@pytest.mark.parametrize("when", ["before", "within", "after"])
@pytest.mark.parametrize("fsync", ["none", "always"])
def test_a_writer_killed_at_any_change_leaves_a_sound_log(tmp_path, when, fsync):
    path = str(tmp_path / "log")
    assert call("test_survive_kill_everywhere", "kill_at_every_change", path, when, fsync) > 20


def make_killed_everywhere(path):
    """SIGKILL a process at every change that making a stream and its topic takes."""
    counting = StepDisk()
    make_all(f"{path}-whole", counting)
    for at in range(1, counting.count + 1):
        for when in ("before", "after") if at in part_of(range(1, 99), 5) else ("after",):
            place = f"{path}-{at}-{when}"
            pid = os.fork()
            if pid == 0:
                make_all(place, KillingDisk(at, when))
                os._exit(1)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status)
            try:
                make_all(place, Disk())
            except Exception as error:
                raise AssertionError(f"killed {when} change {at}: {error}") from error
    say(counting.count)


def make_all(path, disk):
    """Make everything as the public `open_stream` does, but with this disk."""
    disks.Disk = lambda: disk
    with open_stream(path, config=StreamConfig(**SETTINGS)) as stream:
        assert stream.config.segment_bytes == SETTINGS["segment_bytes"]
        stream.make_topic(TOPIC, 2)
        with stream.producer() as producer:
            # Offset 1 when the killed process had committed its record without an acknowledgement.
            assert producer.send(TOPIC, b"first", partition=1)[0] == 1


def test_a_stream_whose_making_was_killed_can_be_made_again(tmp_path):
    path = str(tmp_path / "log")
    assert call("test_survive_kill_everywhere", "make_killed_everywhere", path) > 6
