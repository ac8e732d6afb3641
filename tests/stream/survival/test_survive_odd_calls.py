"""Check short writes, frequent signals, and missing descriptors and permissions."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import threading

import pytest
from survival_children import Child, call, hear, say
from survival_disks import QuietDisk, ShortDisk
from survival_logs import (
    TOPIC,
    assert_sound,
    damage_of,
    open_log,
    partition_directory,
    read_all,
    writer_of,
)

from rdv.stream.errors import LockTimeout, NotPermitted, TooManyOpenFiles


@pytest.mark.parametrize("bytes_max", [1, 7, 31, 32, 33, 100])
def test_short_writes_make_whole_records(tmp_path, bytes_max):
    turn, values = random.Random(bytes_max), []
    path = tmp_path / "log"
    stream = open_log(path, ShortDisk(bytes_max), segment_bytes=700)
    with stream, stream.producer() as producer:
        for _ in range(25):
            batch = [turn.randbytes(turn.randrange(90)) for _ in range(turn.choice((1, 5)))]
            assert producer.send_many(TOPIC, batch) == (0, len(values))
            values += batch
    with open_log(path) as stream:
        assert_sound(stream, dict(enumerate(values)))


def send_in_a_signal_storm(path, name, count):
    """Send while timer signals with a Python handler keep arriving, also in a blocked flock."""
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    with open_log(path) as stream, stream.producer() as producer:
        for number in range(0, count, 4):
            producer.send(TOPIC, b"%s:%d" % (name.encode(), number))
            values = [b"%s:%d" % (name.encode(), number + i) for i in (1, 2, 3)]
            producer.send_many(TOPIC, values)
    signal.setitimer(signal.ITIMER_REAL, 0)
    say(len(rung))


def test_signals_interrupt_nothing(tmp_path):
    path, count = tmp_path / "log", 1200
    open_log(path, segment_bytes=5000).close()
    names = ["a", "b", "c"]
    module = "test_survive_odd_calls"
    children = [Child(module, "send_in_a_signal_storm", str(path), n, count) for n in names]
    try:
        assert all(child.expect() > 0 for child in children)
        assert [child.end() for child in children] == [0, 0, 0]
    finally:
        for child in children:
            child.__exit__(None, None, None)
    with open_log(path) as stream:
        values = list(read_all(stream).records.values())
        assert damage_of(stream) == []
    for name in names:
        theirs = [v for v in values if v.startswith(name.encode())]
        assert theirs == [b"%s:%d" % (name.encode(), i) for i in range(count)]


class GivenUp(Exception):
    """A signal handler raises this, as Ctrl-C raises KeyboardInterrupt."""


def give_up_waiting_for_the_lock(path):
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"before")
        say("ready")
        hear()

        def give_up(*_):
            raise GivenUp

        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            producer.send(TOPIC, b"never")
        except GivenUp:
            say("given up")
        hear()


def test_a_writer_that_gave_up_waiting_does_not_get_the_lock(tmp_path):
    path = tmp_path / "log"
    open_log(path, lock_timeout_ms=3_000).close()
    disk = QuietDisk()
    with Child("test_survive_odd_calls", "give_up_waiting_for_the_lock", str(path)) as child:
        assert child.expect() == "ready"
        fd = disk.open(str(partition_directory(path) / "lock"), write=True)
        assert disk.try_lock(fd)
        child.tell()
        assert child.expect() == "given up"
        disk.unlock(fd)
        disk.close(fd)
        with open_log(path) as stream, stream.producer() as producer:
            # The child lives on, with its producer open, and sends nothing.
            for number in range(20):
                assert producer.send(TOPIC, b"after") == (0, 1 + number)
        child.tell()


def test_no_descriptor_to_wait_with_is_an_error_once_not_a_lock_for_ever(tmp_path):
    path, disk = tmp_path / "log", QuietDisk()
    stream = open_log(path, disk, lock_timeout_ms=300)
    with stream, stream.producer() as producer:
        producer.send(TOPIC, b"before")
        fd = disk.open(str(partition_directory(path) / "lock"), write=True)
        assert disk.try_lock(fd)
        really = disk.dup

        def no_dup(_):
            raise OSError(errno.EMFILE, "too many open files")

        disk.dup = no_dup
        with pytest.raises((TooManyOpenFiles, LockTimeout)):
            producer.send(TOPIC, b"cannot wait")
        disk.dup = really
        disk.unlock(fd)
        disk.close(fd)
        assert producer.send(TOPIC, b"after") == (0, 1)


def send_without_descriptors(path):
    """Take all descriptors (a few less each time) during a run with rolls; then go on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    acknowledged, refused = [], 0
    with open_log(path, segment_bytes=25) as stream, stream.producer() as producer:
        _, offset = producer.send(TOPIC, b"room at first")
        acknowledged.append([offset, "room at first"])
        for spare in range(12):
            hoard = []
            try:
                while True:
                    hoard.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            for fd in [hoard.pop() for _ in range(min(spare // 2, len(hoard)))]:
                os.close(fd)
            for number in range(3):
                value = f"{spare}:{number}"
                try:
                    _, offset = producer.send(TOPIC, value.encode())
                    acknowledged.append([offset, value])
                except TooManyOpenFiles:
                    refused += 1
            if spare % 3 == 1:
                try:
                    writer_of(producer).release()
                    _, offset = producer.send(TOPIC, b"released")
                    acknowledged.append([offset, "released"])
                except TooManyOpenFiles:
                    refused += 1
            for fd in hoard:
                os.close(fd)
            _, offset = producer.send(TOPIC, b"room again")
            acknowledged.append([offset, "room again"])
    say([acknowledged, refused])


def test_too_few_descriptors_are_an_error_and_lose_nothing(tmp_path):
    path = tmp_path / "log"
    stream = open_log(path, segment_bytes=25, lock_timeout_ms=2000)
    with stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
    acknowledged, refused = call("test_survive_odd_calls", "send_without_descriptors", str(path))
    assert refused
    with open_log(path) as stream:
        records = read_all(stream).records
        assert damage_of(stream) == []
    for offset, value in acknowledged:
        assert records[offset] == value.encode()
    sent = {value.encode() for _, value in acknowledged}
    strangers = [v for v in records.values() if v not in sent and v != b"first" and b":" not in v]
    assert strangers == []


def use_without_permission(path):
    with open_log(path) as stream:
        read_all(stream)  # load all modules and codecs while the process still may
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    said = {}
    with open_log(path) as stream, stream.producer() as producer:
        try:
            producer.send(TOPIC, b"must not be")
        except NotPermitted as error:
            said["send"] = error.text()
        try:
            stream.make_topic("new", 1)
        except NotPermitted as error:
            said["topic"] = error.text()
        said["read"] = [v.decode() for v in read_all(stream).records.values()]
    try:
        open_log(f"{path}-other")
    except NotPermitted as error:
        said["stream"] = error.text()
    say(said)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up rights and keep the files")
def test_without_permission_to_write_reading_works_and_writing_is_an_error(tmp_path):
    path = tmp_path / "log"
    with open_log(path, mode="0644") as stream, stream.producer() as producer:
        producer.send(TOPIC, b"for everybody to read")
    for place in [tmp_path, *tmp_path.parents]:
        if place == place.parent or place.owner() != "root" or place.name in ("tmp", ""):
            break
        place.chmod(0o755)
    said = call("test_survive_odd_calls", "use_without_permission", str(path))
    assert said["read"] == ["for everybody to read"]
    assert "no permission" in said["send"]
    assert "no permission" in said["topic"]
    assert "no permission" in said["stream"]
    with open_log(path) as stream:
        assert_sound(stream, {0: b"for everybody to read"})


def test_two_threads_and_another_process_wait_for_the_same_lock_in_turn(tmp_path):
    """A helper thread that waits passes the lock to its caller, and others get it back."""
    path = tmp_path / "log"
    open_log(path, lock_timeout_ms=5_000).close()
    counts = []

    def send(number):
        with open_log(path) as stream, stream.producer() as producer:
            for i in range(150):
                producer.send(TOPIC, b"%d:%d" % (number, i))
            counts.append(number)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 1, 2]
    with open_log(path) as stream:
        values = list(read_all(stream).records.values())
    for number in range(3):
        prefix = b"%d:" % number
        assert [v for v in values if v.startswith(prefix)] == [
            b"%d:%d" % (number, i) for i in range(150)
        ]
