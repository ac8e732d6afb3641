"""Check that no writer fails or waits for readers that are killed, never look, or never existed."""

from __future__ import annotations

import os
import random
import select

import pytest
from survival_children import Child, hear, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, assert_sound, open_log

from rdv.stream.file import board as boards
from rdv.stream.file import slots


def wait_for_records(path, times):
    """Run a reader: poll `times` times, then arm the bell, say so and wait."""
    with open_log(path) as stream, stream.consumer([TOPIC]) as consumer:
        consumer.fileno()
        seen = 0
        for _ in range(times):
            seen += len(consumer.poll(timeout=20))
            say(seen)
        consumer._waiter.arm(1)
        say("waits")
        hear()


def fifos(path):
    return {name for name in os.listdir(path / ".doorbells") if name.isdigit()}


def states(path):
    data = (path / ".doorbells" / "board").read_bytes()
    return {slot for slot in range(boards.SLOTS) if data[boards._STATES_AT + slot] == 1}


def test_a_killed_readers_doorbell_is_removed_by_the_next_notification(tmp_path):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"0")
        with Child("test_survive_dead_readers", "wait_for_records", str(path), 1) as child:
            assert child.expect() == 1
            assert child.expect() == "waits"
            child.kill()
        assert len(fifos(path)) == 1
        assert len(states(path)) == 1
        for number in range(1, 50):
            producer.send(TOPIC, b"%d" % number)
        assert fifos(path) == set()
        assert states(path) == set()
        assert_sound(stream, {n: b"%d" % n for n in range(50)})


def test_readers_killed_while_others_write_cost_no_slots(tmp_path):
    """Twelve readers are killed one after another while they wait or are being notified."""
    path, turn = tmp_path / "log", random.Random(4)
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"0")
        module = "test_survive_dead_readers"
        sent = 1
        for generation in range(3):
            children = [Child(module, "wait_for_records", str(path), 1) for _ in range(4)]
            try:
                for child in children:
                    assert child.expect() == 1 + generation * 40
                    assert child.expect() == "waits"
                for _ in range(40):
                    if children and turn.random() < 0.2:
                        child = children.pop(turn.randrange(len(children)))
                        child.kill()
                        child.__exit__(None, None, None)
                    producer.send(TOPIC, b"%d" % sent)
                    sent += 1
            finally:
                for child in children:
                    child.kill()
                    child.__exit__(None, None, None)
            # A new reader takes the lowest free slot: the dead readers have not used them up.
            with stream.consumer([TOPIC], start="latest") as consumer:
                assert consumer._waiter.fileno() >= 0
                assert consumer._waiter._slot < 4
        assert_sound(stream, {n: b"%d" % n for n in range(sent)})


def test_an_armed_reader_that_never_reads_blocks_no_writer(tmp_path):
    """The reader says that it waits, again and again, and reads no wake-up from its FIFO."""
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        with stream.consumer([TOPIC]) as consumer:
            bell = consumer._waiter
            fd = bell.fileno()
            # A FIFO holds 64 KiB: send more wake-ups than it has room for.
            for number in range(70_000):
                bell.arm(1)
                if number % 10:
                    stream._backend._board._notify_waiting(boards.EVERYTHING)
                else:
                    producer.send(TOPIC, b"x")
            ready, _, _ = select.select([fd], [], [], 0)
            assert ready
            assert len(os.read(fd, 1 << 20)) >= 4096
    with open_log(path) as stream:
        assert stream.end(TOPIC, 0) == 7001


@pytest.mark.parametrize("has_process", [False, True])
def test_a_dead_readers_fifo_is_removed_and_its_slot_used_again(tmp_path, has_process):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        board = stream._backend._board
        os.mkfifo(path / ".doorbells" / "0")
        board.set_mask(0, boards.EVERYTHING)
        board.set_waiting(0, 1)
        holder = os.open(path / ".doorbells" / "0", os.O_RDWR) if has_process else -1
        try:
            assert producer.send(TOPIC, b"second") == (0, 1)
            assert states(path) == set()
            assert fifos(path) == ({"0"} if has_process else set())
            with stream.consumer([TOPIC]) as consumer:
                consumer.fileno()
                assert consumer._waiter._slot == int(has_process)
        finally:
            if has_process:
                os.close(holder)


def test_a_notification_to_a_dead_reader_reaches_its_successor(tmp_path):
    """The writer has the dead reader's FIFO open, while the slot has a new FIFO."""
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        for number in range(5):
            consumer = stream.consumer([TOPIC], start="latest")
            consumer.fileno()
            consumer.poll()
            consumer._waiter.arm(1)
            producer.send(TOPIC, b"%d" % number)
            ready, _, _ = select.select([consumer.fileno()], [], [], 10)
            assert ready, "the writer rings the dead one"
            assert [r.value for r in consumer.poll()] == [b"%d" % number]
            # As when killed: nothing is unlinked, only the descriptor is closed.
            os.close(consumer._waiter._fd)
            consumer._waiter._fd = -1
            consumer.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_garbage_on_the_board_costs_no_record(tmp_path, seed):
    path, turn = tmp_path / "log", random.Random(seed)
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        with stream.consumer([TOPIC], start="latest") as consumer:
            consumer.fileno()
            consumer.poll()
            file = path / ".doorbells" / "board"
            data = bytearray(file.read_bytes())
            states = slice(boards._STATES_AT, boards._MASKS_AT)
            data[states] = bytes(turn.choice((0, 1, 1, 2, 255)) for _ in range(boards.SLOTS))
            data[boards._MASKS_AT :] = turn.randbytes(len(data) - boards._MASKS_AT)
            with file.open("r+b") as target:
                target.write(data)
            for number in range(50):
                assert producer.send(TOPIC, b"%d" % number) == (0, number + 1)
            received = []
            while records := consumer.poll(timeout=0.001):
                received += [r.value for r in records]
            assert received == [b"%d" % number for number in range(50)]


def test_files_that_are_no_fifos_in_the_place_of_fifos_do_no_harm(tmp_path):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        board = stream._backend._board
        (path / ".doorbells" / "0").write_bytes(b"no fifo")
        (path / ".doorbells" / "1").mkdir()
        for slot in (0, 1, 2, 1023):
            board.set_mask(slot, boards.EVERYTHING)
            board.set_waiting(slot, 1)
        assert producer.send(TOPIC, b"second") == (0, 1)


def test_a_failing_notification_fails_no_committed_send(tmp_path, monkeypatch):
    """A dead reader's slot should be cleared, but another process holds the board's lock."""
    monkeypatch.setattr(slots, "_LOCK_TIMEOUT_MS", 50)
    path, disk = tmp_path / "log", QuietDisk()
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"first")
        board = stream._backend._board
        os.mkfifo(path / ".doorbells" / "0")
        board.set_mask(0, boards.EVERYTHING)
        board.set_waiting(0, 1)
        fd = disk.open(str(path / ".doorbells" / "board"), write=True)
        assert disk.try_lock(fd)
        try:
            assert producer.send(TOPIC, b"second") == (0, 1)
        finally:
            disk.close(fd)
