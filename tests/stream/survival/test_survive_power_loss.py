"""Check a loss of power at every point, with what was not synced lost in many combinations.

Of the states that this leaves, `make soak` checks all, and other runs a part.
"""

from __future__ import annotations

import logging
import os
import random

import pytest
from survival_disks import QuietDisk
from survival_logs import NEVER_MS, TOPIC, damage_of, open_log, read_all, writer_of
from survival_power import BootedDisk, Crashes, RecordingDisk, put
from sweep import one_in

from rdv.stream.errors import InvalidConfig
from rdv.stream.record import TopicPartition

pytestmark = pytest.mark.sweep

SETTINGS = {"segment_bytes": 190, "fsync_interval_ms": NEVER_MS, "lock_timeout_ms": 1000}
PLACE = TopicPartition(TOPIC, 0)
GROUP = "g"


class Script:
    """Let two producers take turns; record every acknowledgement among the changes to the files."""

    def __init__(self, path, disk, fsync, seed):
        self.disk, self.fsync = disk, fsync
        self.turn = random.Random(seed)
        self.streams = [open_log(path, disk, fsync=fsync, **SETTINGS) for _ in range(2)]
        self.producers = [stream.producer() for stream in self.streams]
        self.acknowledged = {}

    def send(self, number, size):
        values = [
            b"%d " % (len(self.acknowledged) + i) + self.turn.randbytes(self.turn.randrange(45))
            for i in range(size)
        ]
        self.disk.note("sending", values)
        _, first = self.producers[number].send_many(TOPIC, values)
        self.acknowledged.update(enumerate(values, first))
        self.disk.note("acknowledged", first + size)
        if self.turn.random() < 0.3:
            self.streams[number].set_committed(GROUP, TOPIC, 0, first + size)

    def sync(self):
        """Sync both producers, as their threads would."""
        for producer in self.producers:
            if TOPIC in producer._writers:
                writer_of(producer).sync()
        self.disk.note("synced", len(self.acknowledged))

    def run(self, steps=14):
        for step in range(steps):
            self.send(step % 2 if step < 10 else 0, self.turn.choice((1, 1, 2, 4)))
            if self.fsync == "interval" and step % 3 == 2:
                self.sync()

    def close(self):
        for producer in self.producers:
            producer.close()
        for stream in self.streams:
            stream.close()


def promised(notes, fsync):
    """Return how many records must be there, whatever happens."""
    kind = {"always": "acknowledged", "interval": "synced", "none": None}[fsync]
    return max((note[1] for note in notes if note[0] == kind), default=0)


def read_after_crash(root, boot):
    with open_log(root / "log", BootedDisk(boot), fsync="none", **SETTINGS) as stream:
        return read_all(stream)


def check_state(root, values):
    """Read; read again after another crash; append; read again. Returns the offsets found."""
    first = read_after_crash(root, 2)
    for offset, value in first.records.items():
        assert value == values[offset], f"a wrong value at {offset}: {value!r}"
    with open_log(root / "log", BootedDisk(3)) as stream, stream.producer() as producer:
        again = read_all(stream)
        assert again.records == first.records, "another recovery finds something else"
        assert again.end == first.end
        _, offset = producer.send(TOPIC, b"after the loss")
        assert offset >= first.end
        committed = stream.committed(GROUP).get(PLACE, 0)
        assert committed <= offset, f"{committed} is committed, {offset} would be passed over"
        assert producer.send_many(TOPIC, [b"", b"more " * 9]) == (0, offset + 1)
        after = read_all(stream)
    new = {offset: b"after the loss", offset + 1: b"", offset + 2: b"more " * 9}
    assert after.records == {**first.records, **new}
    return first.records.keys()


def run_script(root, fsync, seed, *, from_nothing=False, steps=14):
    root.mkdir()
    if not from_nothing:
        with open_log(root / "log", QuietDisk(), fsync=fsync, **SETTINGS) as stream:
            stream.make_topic(TOPIC, 1)
            stream.set_committed(GROUP, TOPIC, 0, 0)
    disk = RecordingDisk(root)
    if from_nothing:
        # Making the parent directory durable is the caller's business.
        disk.ops += [("mkdir", "log"), ("settle",)]
        (root / "log").mkdir()
    else:
        disk.adopt()
    script = Script(root / "log", disk, fsync, seed)
    script.run(steps)
    script.close()
    return disk, script


def check_all_crashes(tmp_path, fsync, seed, *, randoms, singles, **how):
    disk, _ = run_script(tmp_path / "before", fsync, seed, **how)
    crashes, turn = Crashes(disk.ops), random.Random(seed)
    root = tmp_path / "after"
    root.mkdir()
    found, failures, every = {}, {}, one_in(6)
    for step in crashes.steps():
        count = promised(crashes.notes, fsync)
        values = dict(
            enumerate(v for note in crashes.notes if note[0] == "sending" for v in note[1])
        )
        for number, state in enumerate(crashes.states(turn, randoms, singles)):
            key = hash(tuple(state.items()))
            try:
                if key not in found:  # the same state is the same recovery, whatever is promised
                    found[key] = None
                    if len(found) % every == 0:
                        put(state, root)
                        found[key] = ()
                        found[key] = check_state(root, values)
                if found[key] is None:
                    continue
                missing = [offset for offset in range(count) if offset not in found[key]]
                assert not missing, f"of {count} promised records these are gone: {missing}"
            except Exception as error:
                if isinstance(error, InvalidConfig) and fsync == "none":
                    continue  # The stream itself was not durable yet, and the error says so.
                what = f"{type(error).__name__}: {error}"[:300]
                failures.setdefault(what[:40], []).append(f"step {step}, state {number}: {what}")
    shown = "\n".join(f"{len(names)} x {names[0]}" for names in failures.values())
    assert not failures, f"{len(found)} states, of which these fail\n{shown}"
    return len(found)  # with those that a part leaves out


@pytest.fixture(autouse=True)
def _quiet_recovery():
    logging.getLogger("rdv.stream").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("rdv.stream").setLevel(logging.NOTSET)


@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_power_loss_takes_no_more_than_the_policy_allows(tmp_path, fsync):
    count = check_all_crashes(tmp_path, fsync, seed=1, randoms=1, singles=1)
    assert count > 300


@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_power_loss_while_the_stream_is_made(tmp_path, fsync):
    how = {"from_nothing": True, "steps": 2}
    count = check_all_crashes(tmp_path, fsync, seed=2, randoms=1, singles=1, **how)
    assert count > 100


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", range(10, 20))
@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_power_loss_in_many_more_ways(tmp_path, fsync, seed):
    check_all_crashes(tmp_path, fsync, seed, randoms=20, singles=10, from_nothing=seed % 2 == 0)


class KilledDisk(RecordingDisk):
    """End a writer at its `at`-th write of an index, with a part of the entry written."""

    def __init__(self, root, at):
        super().__init__(root)
        self._left = at
        self.indexes = set()

    def open(self, path, *, write=False, create=False):
        fd = super().open(path, write=write, create=create)
        if path.endswith(".index"):
            self.indexes.add(self.fds[fd])
        return fd

    def pwrite(self, fd, data, position):
        if self.fds[fd] in self.indexes:
            self._left -= 1
            if not self._left:
                super().pwrite(fd, data[: len(data) * 2 // 3], position)
                raise Killed
        return super().pwrite(fd, data, position)


class Killed(BaseException):
    """Replace SIGKILL: the writer is not used after it."""


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_power_loss_after_a_writer_was_killed_in_a_batch(tmp_path, fsync):
    root = tmp_path / "before"
    root.mkdir()
    open_log(root / "log", QuietDisk(), fsync=fsync, **SETTINGS).make_topic(TOPIC, 1)
    disk = KilledDisk(root, 5)
    disk.adopt()
    script = Script(root / "log", disk, fsync, 7)
    sent = []
    for step in range(6):
        values = [b"%d.%d" % (step, i) * 3 for i in range(3)]
        disk.note("sending", values)
        try:
            _, first = script.producers[step % 2].send_many(TOPIC, values)
        except Killed:
            script.producers[step % 2] = script.streams[step % 2].producer()
            continue
        sent.append((first, values))
        disk.note("acknowledged", first, values)
        if fsync == "interval":
            script.sync()
    script.close()
    assert len(sent) == 5
    after = tmp_path / "after"
    after.mkdir()
    crashes, turn = Crashes(disk.ops), random.Random(3)
    for _ in crashes.steps():
        kept = [n for n in crashes.notes if n[0] == "acknowledged"]
        if fsync == "interval":
            synced = [i for i, n in enumerate(crashes.notes) if n[0] == "synced"]
            kept = [n for n in crashes.notes[: synced[-1] if synced else 0] if len(n) == 3]
        for state in crashes.states(turn, 1, 1):
            put(state, after)
            records = read_after_crash(after, 2).records
            for _, first, values in kept:
                found = [records.get(first + i) for i in range(3)]
                assert found == values, f"at {first}: {found}"


@pytest.mark.parametrize(("fsync", "part"), [("none", one_in(5)), ("always", one_in(8))])
def test_power_loss_during_the_recovery_from_a_power_loss(tmp_path, fsync, part):
    disk, _ = run_script(tmp_path / "before", fsync, 5)
    crashes, turn = Crashes(disk.ops), random.Random(5)
    root, last = tmp_path / "after", tmp_path / "last"
    root.mkdir()
    last.mkdir()
    checked = 0
    for step in crashes.steps():
        if step % (4 * part):
            continue
        count = promised(crashes.notes, fsync)
        values = dict(
            enumerate(v for note in crashes.notes if note[0] == "sending" for v in note[1])
        )
        for state in turn.sample(list(crashes.states(turn, 2, 1)), 1):
            put(state, root)
            recovering = RecordingDisk(root, boot=2)
            recovering.adopt()
            with open_log(root / "log", recovering) as stream, stream.producer() as producer:
                before = read_all(stream).records
                producer.send(TOPIC, b"sent by the first to recover")
            crashes_again = Crashes(recovering.ops)
            for _ in crashes_again.steps():
                for again in crashes_again.states(turn, 1, 0):
                    put(again, last)
                    records = read_after_crash(last, 3).records
                    checked += 1
                    for offset, value in records.items():
                        assert value in (values.get(offset), b"sent by the first to recover")
                    for offset in range(count):
                        assert records.get(offset) == values[offset], f"{offset} is gone"
                    if fsync == "always":
                        assert before.items() <= records.items()
    assert checked > 100


def test_an_emptied_board_or_group_state_is_recreated(tmp_path):
    """These files hold only hints, and are made anew."""
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"value")
        with stream.consumer([TOPIC], group=GROUP) as consumer:
            assert len(consumer.poll()) == 1
            consumer.commit()
    for name in (".doorbells/board", f".groups/{GROUP}/state.json"):
        for data in (b"", b"\0" * 8):
            (path / name).write_bytes(data)
            with open_log(path, BootedDisk(9)) as stream, stream.producer() as producer:
                _, offset = producer.send(TOPIC, b"goes on")
                with stream.consumer([TOPIC], group=GROUP) as consumer:
                    assert [r.offset for r in consumer.poll(timeout=0.01)] == [offset]
                    consumer.commit()


def cut_log(path, fsync):
    """Write ten records, and cut the index to six, as a loss of power may."""
    with open_log(path, QuietDisk(), fsync=fsync) as stream, stream.producer() as producer:
        for number in range(10):
            producer.send(TOPIC, b"%d" % number)
        stream.set_committed(GROUP, TOPIC, 0, 10)
        stream.set_committed("behind", TOPIC, 0, 3)
    os.truncate(path / TOPIC / "0" / f"{0:020d}.index", 6 * 32)


def test_commits_beyond_a_cleanly_shorter_log_are_clamped(tmp_path):
    """The tail may be gone without a trace; readers must not pass over what replaces it."""
    path = tmp_path / "log"
    cut_log(path, "none")
    with open_log(path, BootedDisk(2)) as stream, stream.producer() as producer:
        for number in range(8):
            producer.send(TOPIC, b"new %d" % number)
        assert stream.committed(GROUP)[PLACE] == 6
        assert stream.committed("behind")[PLACE] == 3
        with stream.consumer([TOPIC], group=GROUP) as consumer:
            assert [r.offset for r in consumer.poll()] == list(range(6, 14))


@pytest.mark.parametrize("fsync", ["interval", "always"])
def test_what_was_synced_and_is_gone_is_damage_and_its_offsets_are_not_used_again(tmp_path, fsync):
    path = tmp_path / "log"
    cut_log(path, fsync)
    for boot in (2, 3):
        with open_log(path, BootedDisk(boot)) as stream:
            assert stream.end(TOPIC, 0) == 10
            reading = read_all(stream)
            assert sorted(reading.records) == list(range(6))
            assert reading.offsets_named == {6, 7, 8, 9}
            assert [(d.first_offset, d.last_offset) for d in damage_of(stream)] == [(6, 9)]
    with open_log(path, BootedDisk(3)) as stream, stream.producer() as producer:
        assert producer.send(TOPIC, b"new") == (0, 10)
        assert stream.committed(GROUP)[PLACE] == 10
        assert stream.committed("behind")[PLACE] == 3
        with stream.consumer([TOPIC], group=GROUP) as consumer:
            assert [r.value for r in consumer.poll()] == [b"new"]
        assert read_all(stream).offsets_named == {6, 7, 8, 9}
        assert [one.given_up for one in stream.repair(TOPIC, 0)] == [4]
        assert stream.repair(TOPIC, 0) == []
        assert sorted(read_all(stream).records) == [*range(6), 10]


@pytest.mark.parametrize("gone", ["last index", "last values", "last segment", "everything"])
def test_files_that_were_synced_and_are_gone_are_damage(tmp_path, gone):
    path = tmp_path / "log"
    settings = {"fsync": "always", "segment_bytes": 5}
    with open_log(path, QuietDisk(), **settings) as stream, stream.producer() as producer:
        for _ in range(9):
            producer.send(TOPIC, b"v\n")
        bases = stream.segments(TOPIC, 0)
    doomed = {
        "last index": [f"{bases[-1]:020d}.index"],
        "last values": [f"{bases[-1]:020d}.jsonl"],
        "last segment": [f"{bases[-1]:020d}.index", f"{bases[-1]:020d}.jsonl"],
        "everything": [f"{base:020d}.{end}" for base in bases for end in ("index", "jsonl")],
    }[gone]
    for name in doomed:
        (path / TOPIC / "0" / name).unlink()
    lost = set(range(0 if gone == "everything" else bases[-1], 9))
    with open_log(path, BootedDisk(2)) as stream, stream.producer() as producer:
        assert read_all(stream).offsets_named == lost
        assert {
            o for d in damage_of(stream) for o in range(d.first_offset, d.last_offset + 1)
        } == lost
        assert producer.send(TOPIC, b"new") == (0, 9)
        reading = read_all(stream)
        assert reading.offsets_named == lost
        assert reading.lost == []
        assert reading.records.keys() == set(range(10)) - lost
