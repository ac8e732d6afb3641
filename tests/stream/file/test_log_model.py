"""Check the log against plain lists: in files with very small segments, and in memory."""

import tempfile
import uuid
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from log_model import TOPIC, LogModel

from rdv.stream.memory.backend import forget

quick = settings(
    max_examples=40, stateful_step_count=30, derandomize=True, deadline=None, database=None
)
soak = settings(max_examples=1500, stateful_step_count=80, deadline=None, database=None)


class MemoryModel(LogModel):
    @contextmanager
    def place(self):
        name = uuid.uuid4().hex
        yield f"memory:{name}"
        forget(name)


class FileModel(LogModel):
    @contextmanager
    def place(self):
        with tempfile.TemporaryDirectory() as path:
            yield f"{path}/stream"

    @rule(data=st.data())
    def purge(self, data):
        partition = data.draw(st.integers(0, len(self.logs) - 1))
        before = data.draw(st.integers(0, len(self.logs[partition]) + 2))
        bases = self.stream.segments(TOPIC, partition)
        records, _ = self.stream.purge(TOPIC, partition, before_offset=before)
        begin = max([b for b in bases if b <= before], default=self.begins[partition])
        assert records == begin - self.begins[partition]
        self.begins[partition] = begin

    @rule(data=st.data())
    def read_arrow(self, data):
        partition = data.draw(st.integers(0, len(self.logs) - 1))
        log, begin = self.logs[partition], self.begins[partition]
        first = data.draw(st.integers(begin, len(log)))
        stop = data.draw(st.integers(first, len(log)))
        array = self.stream.read_arrow(TOPIC, partition, first, stop)
        assert array.to_pylist() == [value for value, _ in log[first:stop]]
        everything = self.stream.read_arrow(TOPIC, partition)
        assert everything.to_pylist() == [value for value, _ in log[begin:]]

    @rule()
    def verify(self):
        for partition, log in enumerate(self.logs):
            reports = list(self.stream.verify(TOPIC, partition))
            assert not any(report.damage or report.lost for report in reports)
            assert sum(report.records for report in reports) == len(log) - self.begins[partition]
            assert self.stream.repair(TOPIC, partition) == []


@pytest.mark.parametrize("model", [FileModel, MemoryModel])
def test_the_log_holds_what_the_lists_say(model):
    run_state_machine_as_test(model, settings=quick)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", [FileModel, MemoryModel])
def test_the_log_holds_what_the_lists_say_for_long(model):
    run_state_machine_as_test(model, settings=soak)


def test_a_writer_that_is_closed_twice_marks_no_other_partition():
    """The number of a closed descriptor may be that of another partition's lock file by then."""
    log = FileModel()
    try:
        log.begin(partitions=6)
        for key in (b"\x06z\xb90\x9a\x81_%\xe2S\\O", b"\r\n\x00"):
            log.send_many(by=1, key=key, values=[b"12345"] * 8)
        log.send_many(by=1, key=b"\xd4\xff\x08\x88\xd0\x07\xc9;\xad\x1d\xbd0", values=[b"x"] * 4)
        log.send_many(by=0, key=b"", values=[b"", b""])
        log.reopen()
        log.begin_and_end_are_right()
    finally:
        log.teardown()
