"""Rename or delete the lock file of living writers: what they acknowledge is never overwritten."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest
from survival_children import Child, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, damage_of, open_log, read_all

from rdv.stream.file.checkpoint import Checkpoint, pack_checkpoint
from rdv.system.disk import Disk


def send_for(path, is_native, seconds, name):
    """Send as fast as possible; then say each acknowledged offset with its value."""
    acknowledged = []
    disk = Disk() if is_native else QuietDisk()
    with open_log(path, disk) as stream, stream.producer() as producer:
        say("ready")
        hear()
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            value = f"{name} {number}\n"
            acknowledged.append((producer.send(TOPIC, value.encode())[1], value))
            number += 1
    say(acknowledged)


def move_away(lock):
    lock.rename(f"{lock}.moved")


def replace_by_a_copy(lock):
    shutil.copyfile(lock, f"{lock}.copy")
    os.replace(f"{lock}.copy", lock)


def replace_by_one_of_another_boot(lock):
    (lock.parent / "old").write_bytes(pack_checkpoint(Checkpoint(b"another boot id!", 0)))
    (lock.parent / "old").replace(lock)


def replace_by_another_partitions(lock):
    with open_log(lock.parents[2]) as stream, stream.producer() as producer:
        producer.send("other", b"")
    (lock.parents[2] / "other" / "0" / "lock").replace(lock)


CHANGES = [
    os.unlink, move_away, replace_by_a_copy, replace_by_one_of_another_boot,
    replace_by_another_partitions,
]  # fmt: skip


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_new_lock_file_is_used_when_the_old_one_is_not_any_more(tmp_path, is_native, change):
    path = tmp_path / "log"
    with open_log(path) as stream:
        stream.make_topic(TOPIC)
    lock, acknowledged = path / TOPIC / "0" / "lock", []
    args = ("test_survive_renamed_lock", "send_for", str(path), is_native)
    with Child(*args, 0.7, "old") as old:
        with Child(*args, 0.3, "new") as new:
            assert (old.expect(), new.expect()) == ("ready", "ready")
            old.tell()
            time.sleep(0.2)
            change(lock)
            new.tell()
            acknowledged += new.expect()
        acknowledged += old.expect()
    with open_log(path) as stream:
        records = read_all(stream).records
        assert damage_of(stream) == []
    assert len({offset for offset, _ in acknowledged}) == len(acknowledged)
    assert all(records[offset] == value.encode() for offset, value in acknowledged)


class InTheMiddle(QuietDisk):
    """Stay in the middle of the next append until another writer waits, or a second has passed."""

    def __init__(self):
        self.is_armed, self.has_begun, self.others_wait = (threading.Event() for _ in range(3))

    def pwrite(self, fd, data, position):
        if self.is_armed.is_set():
            self.is_armed.clear()
            self.has_begun.set()
            self.others_wait.wait(1)
        return os.pwrite(fd, data, position)


def test_the_first_user_of_a_new_lock_file_waits_for_an_append_under_the_renamed_one(tmp_path):
    path, disk = tmp_path / "log", InTheMiddle()
    found = []

    class Waits(QuietDisk):
        def pause(self, seconds):
            disk.others_wait.set()
            thread.join()

    with open_log(path, disk) as old, old.producer() as producer:
        producer.send(TOPIC, b"first")
        disk.is_armed.set()
        thread = threading.Thread(target=lambda: found.append(producer.send(TOPIC, b"old")))
        thread.start()
        assert disk.has_begun.wait(60)
        (path / TOPIC / "0" / "lock").rename(path / TOPIC / "0" / "moved")
        with open_log(path, Waits()) as new, new.producer() as other:
            found.append(other.send(TOPIC, b"new"))
        thread.join()
    assert sorted(found) == [(0, 1), (0, 2)]
    with open_log(path) as stream:
        assert read_all(stream).records == {0: b"first", 1: b"old", 2: b"new"}
