"""Check that a commit without its tick (its process was killed just then) is found all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from survival_disks import QuietDisk, StepDisk
from survival_logs import TOPIC, open_log

from rdv.stream.file import board as boards


class SilentDisk(StepDisk):
    """Drop what is written to the board, so that no reader is notified."""

    def pwrite(self, fd, data, position):
        if Path(self.paths.get(fd, "?")).name == "board":
            return len(data)
        return super().pwrite(fd, data, position)


class CountingDisk(QuietDisk):
    """Count reads of files other than the board."""

    def __init__(self):
        self.reads = 0

    def pread(self, fd, size, position):
        # Without C the board is read by pread, too; that is no read of the log.
        self.reads += not os.readlink(f"/proc/self/fd/{fd}").endswith("/board")
        return super().pread(fd, size, position)


def test_a_record_without_a_notification_is_found_by_a_waiting_reader(tmp_path):
    with open_log(tmp_path / "log") as told, told.producer() as producer:
        producer.send(TOPIC, b"first\n")
        with told.consumer([TOPIC]) as consumer:
            assert [r.value for r in consumer.poll(timeout=5)] == [b"first\n"]
            assert consumer.poll() == []
            with open_log(tmp_path / "log", SilentDisk()) as silent, silent.producer() as other:
                other.send(TOPIC, b"untold\n")
            assert [r.value for r in consumer.poll(timeout=5)] == [b"untold\n"]


def test_an_up_to_date_reader_reads_no_file_until_notified(tmp_path):
    disk = CountingDisk()
    with open_log(tmp_path / "log", disk) as stream, stream.producer() as producer:
        for topic in "abc":
            producer.send(topic, b"1\n")
        with stream.consumer() as consumer:
            assert len(consumer.poll(timeout=5)) == 3
            consumer._look_ns = 2**63  # only news count
            before = disk.reads
            assert consumer.look() == []
            assert disk.reads == before
            producer.send("b", b"2\n")
            assert [r.value for r in consumer.look()] == [b"2\n"]
            assert consumer.look() == []
            consumer.seek("b", 0, 0)
            assert [r.value for r in consumer.look()] == [b"1\n", b"2\n"]


def test_a_reader_of_several_partitions_reads_only_those_with_news(tmp_path):
    disk = CountingDisk()
    with open_log(tmp_path / "log", disk) as stream, stream.producer() as producer:
        for topic in "abc":
            producer.send(topic, b"1\n")
        with stream.consumer() as consumer:
            assert len(consumer.poll(timeout=5)) == 3
            assert consumer.look() == []
            consumer._look_ns = 2**63  # only news count
            before = disk.reads
            producer.send("b", b"2\n")
            assert [r.value for r in consumer.look()] == [b"2\n"]
            assert disk.reads - before == 2, "its index and its values"
            producer.send("b", b"3\n")
            producer.send("c", b"3\n")
            consumer._look_ns = 2**63
            assert len(consumer.look(1)) == 1, "there is more, whichever came first"
            assert len(consumer.look()) == 1


def test_two_processes_leave_different_ticks(tmp_path):
    """Each tick is its process's first for the partition: a reader between them must see both."""
    path = tmp_path / "log"
    with open_log(path) as one, one.producer() as first:
        first.send(TOPIC, b"1\n")
        seen = one._backend._board.news()
        with open_log(path) as two, two.producer() as second:
            second.send(TOPIC, b"2\n")
            assert two._backend._board.news() != seen


@pytest.mark.parametrize(
    "old", [b"rdvbell1".ljust(9232, b"\0"), b"rdvbell2".ljust(9744, b"\0"), b"", bytes(9744)]
)
def test_a_board_of_another_version_is_made_anew(tmp_path, old):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.producer() as producer:
        producer.send(TOPIC, b"1\n")
    board = path / ".doorbells" / "board"
    board.write_bytes(old)
    with open_log(path) as stream, stream.consumer([TOPIC]) as consumer:
        assert [r.value for r in consumer.poll(timeout=5)] == [b"1\n"]
    made = board.read_bytes()
    assert (made[:8], len(made)) == (boards._MAGIC, boards._SIZE)
