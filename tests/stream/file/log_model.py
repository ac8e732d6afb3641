"""Drive a stream at random beside plain lists that say what it must hold."""

from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta

from fake_clock import START_NS, FakeClock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rdv.stream import StreamConfig, open_stream
from rdv.stream.errors import RecordsLost

TOPIC = "t"
VALUES = st.binary(max_size=12)


class LogModel(RuleBasedStateMachine):
    config = StreamConfig(segment_bytes=20, retention_ms=None, open_partitions_max=2)

    @contextmanager
    def place(self):
        """Yield an address of a new stream; clean up after it."""
        raise NotImplementedError

    def __init__(self):
        super().__init__()
        self.exits = ExitStack()
        self.address = self.exits.enter_context(self.place())
        self.clock = FakeClock()
        self.logs = []
        self.begins = []
        self.handles = None
        self.open()

    def open(self):
        self.handles = self.exits.enter_context(ExitStack())
        self.stream = open_stream(self.address, config=self.config, clock=self.clock)
        self.handles.enter_context(self.stream)
        self.producers = [self.handles.enter_context(self.stream.producer()) for _ in range(2)]
        self.new_consumer(start="earliest")

    @initialize(partitions=st.integers(1, 3))
    def begin(self, partitions):
        self.grow(partitions)

    @rule(more=st.integers(1, 2))
    def grow(self, more):
        if len(self.logs) + more <= 6:
            self.logs += [[] for _ in range(more)]
            self.begins += [0] * more
            self.stream.make_topic(TOPIC, len(self.logs))
            self.positions += [0] * more

    @rule(by=st.integers(0, 1), value=VALUES, data=st.data())
    def send(self, by, value, data):
        partition = data.draw(st.none() | st.integers(0, len(self.logs) - 1))
        where, offset = self.producers[by].send(TOPIC, value, partition=partition)
        assert partition in (None, where)
        self.appended(where, offset, [value])

    @rule(by=st.integers(0, 1), values=st.lists(VALUES, max_size=8), key=VALUES)
    def send_many(self, by, values, key):
        where, offset = self.producers[by].send_many(TOPIC, values, key=key)
        assert where == self.producers[1 - by].partition_for(TOPIC, key)
        self.appended(where, offset, values)

    def appended(self, partition, offset, values):
        log = self.logs[partition]
        assert offset == len(log)
        time_ns = max([self.clock.wall, *(t for _, t in log[-1:])])
        log += [(value, time_ns) for value in values]

    @rule(microseconds=st.integers(-5, 20))
    def let_time_pass(self, microseconds):
        self.clock.wall += microseconds * 1000

    @rule()
    def reopen(self):
        self.handles.close()
        self.open()

    @rule(start=st.sampled_from(["earliest", "latest"]) | st.integers(0, 30))
    def new_consumer(self, start):
        self.consumer = self.handles.enter_context(self.stream.consumer([TOPIC], start=start))
        begins = {"earliest": self.begins, "latest": [len(log) for log in self.logs]}
        self.positions = begins.get(start) or [
            min(max(begin, start if isinstance(start, int) else 0), len(log))
            for begin, log in zip(self.begins, self.logs, strict=True)
        ]
        self.positions = list(self.positions)

    @rule(max_records=st.integers(1, 12))
    def poll(self, max_records):
        behind = [n for n, begin in enumerate(self.begins) if self.positions[n] < begin]
        available = sum(map(len, self.logs)) - sum(self.positions)
        try:
            records = self.consumer.poll(max_records)
        except RecordsLost as error:
            self.lost(error, behind)
            return
        assert len(records) <= max_records
        assert records or not available
        for record in records:
            log, offset = self.logs[record.partition], self.positions[record.partition]
            if offset < self.begins[record.partition] <= record.offset:
                offset = record.offset  # the next poll reports the loss
                assert record.partition in behind
            assert (record.topic, record.offset) == (TOPIC, offset)
            assert (record.value, record.timestamp_ns) == log[offset]
            self.positions[record.partition] = offset + 1

    def lost(self, error, behind):
        assert error.partition in behind
        assert error.first_offset == self.positions[error.partition]
        assert error.last_offset + 1 == self.begins[error.partition]
        self.positions[error.partition] = self.begins[error.partition]

    @rule(data=st.data())
    def seek(self, data):
        partition = data.draw(st.integers(0, len(self.logs) - 1))
        begin, end = self.begins[partition], len(self.logs[partition])
        self.take_notice_of_growth()
        self.catch_up_with_consumer()
        offset = data.draw(st.integers(begin, end))
        self.consumer.seek(TOPIC, partition, offset)
        self.positions[partition] = offset

    def take_notice_of_growth(self):
        if len(self.consumer.assignment()) < len(self.logs):
            with suppress(RecordsLost):  # retention may have taken what comes next
                self.consumer.poll(1)

    def catch_up_with_consumer(self):
        for place, offset in self.consumer.positions().items():
            self.positions[place.partition] = offset

    @rule(microseconds=st.integers(-60, 60))
    def seek_to_time(self, microseconds):
        begin = datetime.fromtimestamp(START_NS // 10**9, UTC)
        self.take_notice_of_growth()
        self.consumer.seek_to(begin + timedelta(microseconds=microseconds))
        self.positions = [
            self.offset_at(n, START_NS + microseconds * 1000) for n in range(len(self.logs))
        ]

    def offset_at(self, partition, time_ns):
        log, begin = self.logs[partition], self.begins[partition]
        return next((n for n in range(begin, len(log)) if log[n][1] >= time_ns), len(log))

    @invariant()
    def begin_and_end_are_right(self):
        for n, log in enumerate(self.logs):
            assert self.stream.begin(TOPIC, n) == self.begins[n]
            assert self.stream.end(TOPIC, n) == len(log)

    def teardown(self):
        self.exits.close()
