"""Check small parts: message batches, notes of batches in flight, answers that wait for room."""

from __future__ import annotations

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from rdv.clock import SYSTEM_CLOCK
from rdv.decision.decision import read_schedules
from rdv.http import Failure
from rdv.rendezvous.backlog import Waiting
from rdv.rendezvous.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_score,
    encode_request,
    encode_score,
)
from rdv.rendezvous.schedule import schedule_from_object
from rdv.serve.batches import REQUESTS, SCORES
from rdv.serve.outbox import FOREVER_MS, LINES_MAX, Outbox
from rdv.serve.proxy.answers import OwnAnswers
from rdv.serve.proxy.intake import Body, ScheduleChoice, read_body
from rdv.serve.worker.crash_record import POISON_MAX, CrashRecord, Unfinished
from rdv.serve.worker.worker import Watchdog
from rdv.stream import Block, Record
from rdv.stream.errors import DiskFull


def score(number, result=b"1"):
    return Score(f"{number}", "m", "1", number, result=msgspec.Raw(result))


def record(value):
    return Record("m", 0, 0, 1, value)


ODD = [
    b"", b"\n", b"nonsense\n", b"{}\n", encode_score(score(7))[:-1], encode_score(score(8)) * 2,
    b'{"v":1,"id":"x","model":"m","version":"1","time_ns":1}\n', b"\xff\n", b"[" * 5_000 + b"\n",
    b'{"v":1,"id":"x","model":"m","version":"1","time_ns":1,"result":1,"error":"e"}\n',
]  # fmt: skip
values = st.one_of(st.integers(0, 99).map(lambda n: encode_score(score(n))), st.sampled_from(ODD))


def one_by_one(value):
    try:
        return decode_score(value)
    except MalformedMessage:
        return None


@given(st.lists(values, min_size=1, max_size=8))
def test_a_batch_is_read_as_its_records_would_be(lines):
    assert SCORES.read(Block.of([record(line) for line in lines])) == [
        one_by_one(line) for line in lines
    ]


@given(
    st.lists(st.sampled_from([b"1", b'"a b"', b"[1,\n 2]", b"{\r\n}", b'"\xc2\x85"']), max_size=6)
)
def test_a_batch_is_written_as_its_messages_would_be(bodies):
    requests = [Request(f"{n}", 1, "h", 1, "p", msgspec.Raw(body)) for n, body in enumerate(bodies)]
    assert REQUESTS.write(requests) == [encode_request(request) for request in requests]


def waiting(number):
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    return Waiting(request, Block.of([Record("p", number % 2, 0, 1, b"")]), 0, 0, 0)


def test_a_crash_record_outlives_its_writer(tmp_path):
    path = str(tmp_path / ".rdv" / "m-0")
    note = CrashRecord(path)
    assert note.unfinished() == Unfinished(is_reported=False)
    note.take([waiting(1), waiting(2)])
    assert CrashRecord(path).unfinished() == Unfinished(((1, "1"), (0, "2")), (), False)
    note.reported()
    assert CrashRecord(path).unfinished() == Unfinished(((1, "1"), (0, "2")), (), True)
    note.take([waiting(3)])
    assert CrashRecord(path).unfinished() == Unfinished(((1, "3"),), (), False)
    note.clear_if_done()
    assert CrashRecord(path).unfinished() == Unfinished(((1, "3"),), (), False), (
        "it is not done yet"
    )
    note.done()
    assert CrashRecord(path).unfinished() == Unfinished(((1, "3"),), (), False)
    note.take([waiting(4)])
    note.clear_if_done()
    assert CrashRecord(path).unfinished() == Unfinished(((0, "4"),), (), False), (
        "that was another one"
    )
    note.done()
    note.clear_if_done()
    assert CrashRecord(path).unfinished() == Unfinished(is_reported=False)


def test_what_ended_a_model_is_remembered_beyond_the_next_end(tmp_path):
    path = str(tmp_path / "m-0")
    note = CrashRecord(path)
    note.exclude([f"r{n}" for n in range(POISON_MAX + 5)])
    note.take([waiting(1)])
    left = CrashRecord(path).unfinished()
    assert left.batch == ((1, "1"),)
    assert left.poison == tuple(f"r{n}" for n in range(5, POISON_MAX + 5))
    note.clear()
    assert CrashRecord(path).unfinished() == Unfinished((), left.poison, False)


@pytest.mark.parametrize("text", [b"garbage!!", b"0000000a ", b"00000003 abc", b"\xff" * 20])
def test_a_damaged_note_is_none(tmp_path, text):
    (tmp_path / "m-0").write_bytes(text)
    assert CrashRecord(str(tmp_path / "m-0")).unfinished().batch == ()


def test_no_note_where_none_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    note = CrashRecord(str(tmp_path / "file" / "m-0"))
    note.take([waiting(1)])
    assert note.unfinished() == Unfinished()


class FullProducer:
    full = True

    def __init__(self):
        self.sent = []

    def send_many(self, topic, lines, *, partition, wait_ms):
        if self.full:
            raise DiskFull("somewhere", "no space left on device")
        self.sent += lines

    def close(self):
        pass


def test_own_answers_wait_for_room_in_their_order_and_are_bounded():
    producer = FullProducer()
    outbox = Outbox(producer, SYSTEM_CLOCK, "answers", keep_ms=FOREVER_MS, keep="any")
    answers = OwnAnswers(outbox, "p-1")
    for number in range(LINES_MAX + 3):
        result = Result(str(number), "p-1", "default", msgspec.Raw(b"0"), "s@1", 1.0)
        answers.add(0, result)
        answers.flush()
        if number < LINES_MAX // 2:  # no answer is given up while there are few
            assert answers.lost == 0
    assert len(answers) <= LINES_MAX
    lost = answers.lost
    assert 0 < lost < LINES_MAX // 2
    producer.full = False
    assert outbox.flush(60)
    answers.close()
    assert len(answers) == 0
    ids = [int(msgspec.json.decode(line)["id"]) for line in producer.sent]
    assert ids == sorted(ids)
    assert len(ids) == LINES_MAX + 3 - lost


def test_either_the_worker_or_the_watchdog_gets_the_batch():
    clock, hanging = FakeClock(monotonic=0), []
    dog = Watchdog(10.0, clock, hanging.append)
    dog.begin(["quick"])
    assert not dog.look(10_000_000)
    assert dog.end()
    dog.begin(["slow"])
    assert dog.look(10_000_001)
    assert not dog.look(10_000_001)
    assert not dog.end()
    assert hanging == [["slow"]]


@given(st.binary(max_size=60))
def test_any_body_is_a_request_or_a_refusal(raw):
    assert isinstance(read_body(raw), Body | Failure)


@given(st.recursive(st.none() | st.floats() | st.text(max_size=5), st.lists, max_leaves=5))
def test_any_json_is_a_request(data):
    raw = msgspec.json.encode({"data": data, "key": "k"})
    body = read_body(raw)
    assert isinstance(body, Body)
    assert msgspec.json.decode(body.data) == msgspec.json.decode(msgspec.json.encode(data))


def test_inline_schedules_are_kept_and_bounded():
    live = schedule_from_object({"sla_ms": 5, "step": [{"accept": ["a"]}]})
    choice = ScheduleChoice({"live": live}, "live")
    assert choice.choose(None).schedule is live
    assert choice.choose("live") is choice.choose(None)
    for sla in range(1, 600):
        wanted = {"sla_ms": sla, "step": [{"accept": ["a"]}]}
        assert choice.choose(wanted) is choice.choose(dict(wanted))
    assert len(choice._inline) <= 256


def test_a_schedule_that_does_not_validate_is_a_fault_by_name(tmp_path):
    assert read_schedules(str(tmp_path)).faults
    folder = tmp_path / "schedules"
    folder.mkdir()
    (folder / "live.toml").write_text("sla_ms = -1")
    (folder / "new.toml").write_bytes(b"\xff")
    after = read_schedules(str(tmp_path))
    assert not after.by_name
    assert set(after.unreadable) == {"live", "new"}
    assert len(after.faults) == 2
