"""Check that a producer opened before a fork works in the parent and in the child."""

from __future__ import annotations

import os
import select
import signal
import threading

import pytest
from survival_children import Child, call, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, assert_sound, damage_of, open_log, read_all

ROUNDS = 300


def parent_and_children_send(path, fsync):
    """Open and use one producer before three forks; then send from all four processes at once."""
    stream = open_log(path, fsync=fsync, segment_bytes=4000, fsync_interval_ms=5)
    producer = stream.producer()
    producer.send(TOPIC, b"before:0")
    start, go = os.pipe()
    children = []
    for name in (b"first", b"second", b"third"):
        pid = os.fork()
        if pid == 0:
            os.read(start, 1)
            _exit_after(lambda name=name: _send_rounds(producer, name))
        children.append(pid)
    os.write(go, b"123")
    _send_rounds(producer, b"parent")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    producer.send(TOPIC, b"after:0")
    producer.close()
    stream.close()
    say(codes)


def _send_rounds(producer, name):
    for number in range(0, ROUNDS, 3):
        producer.send(TOPIC, b"%s:%d" % (name, number))
        producer.send_many(TOPIC, [b"%s:%d" % (name, number + i) for i in (1, 2)])


def _exit_after(work):
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("fsync", ["none", "interval"])
def test_parent_and_children_send_with_the_same_producer(tmp_path, fsync):
    path = tmp_path / "log"
    codes = call("test_survive_fork", "parent_and_children_send", str(path), fsync)
    assert codes == [0, 0, 0]
    with open_log(path) as stream:
        values = list(read_all(stream).records.values())
        assert damage_of(stream) == []
    assert values[0] == b"before:0"
    assert values[-1] == b"after:0"
    for name in (b"parent", b"first", b"second", b"third"):
        theirs = [value for value in values if value.startswith(name)]
        assert theirs == [b"%s:%d" % (name, i) for i in range(ROUNDS)]
    assert len(values) == 4 * ROUNDS + 2


class HeldDisk(QuietDisk):
    """Stop the thread named "held" in its first write of values, while it holds all locks."""

    def __init__(self):
        self.is_in, self.may_go = threading.Event(), threading.Event()

    def pwrite(self, fd, data, position):
        if threading.current_thread().name == "held" and data.startswith(b"held"):
            self.is_in.set()
            self.may_go.wait()
        return os.pwrite(fd, data, position)


def fork_while_a_thread_sends(path):
    disk = HeldDisk()
    stream = open_log(path, disk)
    producer = stream.producer()
    producer.send(TOPIC, b"before")
    thread = threading.Thread(target=producer.send, args=(TOPIC, b"held"), name="held", daemon=True)
    thread.start()
    disk.is_in.wait()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exit_after(lambda: (producer.send(TOPIC, b"child"), os.write(theirs, b"sent")))
    disk.may_go.set()
    thread.join()
    ready, _, _ = select.select([ours], [], [], 5)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    producer.send(TOPIC, b"after")
    say("the child has sent" if ready else "the child hangs in its first send")


def test_a_fork_in_the_midst_of_another_threads_send_does_not_hang_the_child(tmp_path):
    path = tmp_path / "log"
    said = call("test_survive_fork", "fork_while_a_thread_sends", str(path))
    assert said == "the child has sent"
    with open_log(path) as stream:
        assert_sound(stream, dict(enumerate([b"before", b"held", b"child", b"after"])))


def die_in_a_send_with_an_idle_child(path):
    """Fork a child that does nothing; the parent is killed while it holds the partition's lock."""
    disk = HeldDisk()
    producer = open_log(path, disk).producer()
    producer.send(TOPIC, b"before")
    pid = os.fork()
    if pid == 0:
        _exit_after(hear)
    threading.Thread(target=producer.send, args=(TOPIC, b"held"), name="held", daemon=True).start()
    disk.is_in.wait()
    say(pid)
    hear()


def test_the_lock_of_a_killed_writer_is_free_though_its_forked_child_lives(tmp_path):
    path = tmp_path / "log"
    open_log(path, lock_timeout_ms=300).close()
    with Child("test_survive_fork", "die_in_a_send_with_an_idle_child", str(path)) as child:
        grandchild = child.expect()
        child.kill()
        try:
            with open_log(path) as stream, stream.producer() as producer:
                assert producer.send(TOPIC, b"after") == (0, 1)
                assert_sound(stream, {0: b"before", 1: b"after"})
        finally:
            os.kill(grandchild, signal.SIGKILL)
