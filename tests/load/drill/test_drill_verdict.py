"""Check the verdict on the clients' answers and the records, with each promise broken once."""

from __future__ import annotations

import pytest

from rdv.load.drill.mix import Asked
from rdv.load.drill.plan import Exercise, Target
from rdv.load.drill.verdict import Known, Record, RecordedAnswer, Span, judge

MS = 1_000_000
LABEL = "production@1"
SCHEDULES = {LABEL: Known(50, {"by": "default"}, frozenset({"gbm"}))}
READ = {b'{"by":"default"}': {"by": "default"}, b"7": 7}
SERVER = Exercise("stop", Target("server-0", "server"))
PROXY = Exercise("kill", Target("p-1", "proxy"))


def span(exercise=SERVER, recovered_ms=300, proxy_port=0, **more):
    recovered_ns = None if recovered_ms is None else recovered_ms * MS
    times = 0, 100 * MS, 200 * MS, recovered_ns, 500 * MS
    return Span(exercise, *times, proxy_port, **more)


def asked(number, due_ms=50, **changes):
    plain = Asked(
        2, due_ms * MS, (due_ms + 10) * MS, 200, "", f"id-{number}", "preferred", "gbm",
        "server", LABEL, 10.0, 1,
    )  # fmt: skip
    return plain._replace(**changes)


def default(number, **changes):
    plain = {"kind": "default", "model": None, "result": b'{"by":"default"}', "step": 0}
    return asked(number, **{**plain, **changes})


def recorded(entries, **changes):
    answers = {
        e.id: RecordedAnswer(e.kind, e.model, e.schedule, e.answered_by) for e in entries if e.id
    }
    plain = {"answers": answers, "logged": frozenset(answers)}
    return Record(**{**plain, **changes})


def verdict(entries, spans=None, record=None, grace_ms=10.0):
    record = recorded(entries) if record is None else record
    return judge(entries, spans or [span()], record, SCHEDULES, READ, grace_ms)


def the_one(entries, **more):
    (broken,) = verdict(entries, **more).broken
    return broken


GOOD = [asked(1), asked(2, 150, kind="fallback", model="fast", step=2), default(3, due_ms=170),
        asked(4, 400)]  # fmt: skip


def test_a_drill_with_all_promises_kept_passes():
    found = verdict(GOOD)
    assert (found.broken, found.late_in_calm) == ([], 0)
    (row,) = found.rows
    assert (row.requests, row.in_time, row.apart, row.refused) == (4, 4, 0, 0)
    assert [str(mix) for mix in (row.before, row.during, row.after)] == [
        "100/0/0 %", "0/50/50 %", "100/0/0 %",
    ]  # fmt: skip
    assert row.recovery_ms == 100


def test_an_answer_beyond_the_sla_and_the_grace():
    late = [asked(1, 150, waited_ms=60.1)]
    text = the_one(late)
    assert "1 later than the SLA + 10 ms by the proxy's clock, the latest" in text
    assert "the latest after 60 ms, at stop server-0" in text
    assert verdict([asked(1, 150, waited_ms=60.0)]).broken == []
    assert verdict(late, grace_ms=20).broken == []


def test_late_answers_without_a_fault_are_counted_and_break_the_promise():
    found = verdict([asked(1, 20, waited_ms=70.0)])
    assert (found.late_in_calm, len(found.broken)) == (1, 1)


@pytest.mark.parametrize("failure", ["lost", "timeout", "garbage", "garbled"])
def test_an_accepted_request_without_an_answer(failure):
    gone = asked(9, 150, status=200 if failure == "garbled" else 0, failure=failure, id="")
    text = the_one([*GOOD, gone])
    assert (
        f"every accepted request is answered by its SLA: 1 without an answer (1 {failure})" in text
    )


def test_a_refusal_is_no_broken_promise():
    refused = [asked(8, 150, status=429, id=""), asked(9, 150, status=0, failure="connect", id="")]
    found = verdict([*GOOD, *refused])
    assert (found.broken, found.rows[0].refused) == ([], 2)


def test_a_server_error_is_no_refusal():
    assert "1 status 500" in the_one([*GOOD, asked(9, 150, status=500, id="")])


def test_no_request_is_answered():
    text = " ".join(verdict([asked(1, status=503, id="")], [span(recovered_ms=None)]).broken)
    assert "none of 1 requests was answered" in text
    assert "the mix was not back within 0 s, at stop server-0" in text


def test_requests_in_flight_in_a_faulty_proxy_are_counted_apart():
    """It is what was in flight at the kill or sent before the proxy was back, and nothing else."""
    spans = [span(PROXY, proxy_port=2)]
    gone = {"status": 0, "failure": "lost", "id": ""}
    held = [
        asked(1, 95, done_ns=101 * MS, **gone),
        asked(2, 250, **gone),
        asked(3, 50),
        asked(4, 400),
    ]
    found = verdict(held, spans)
    assert (found.broken, found.rows[0].apart, found.rows[0].in_time) == ([], 2, 2)
    other = [one._replace(port=3) for one in held]
    assert "2 without an answer (2 lost), at kill p-1" in the_one(other, spans=spans)
    assert "1 without an answer (1 lost)" in the_one([asked(5, 350, **gone), *GOOD], spans=spans)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (asked(1, kind="guess"), "of the kind 'guess'"),
        (asked(1, model=None), "marked preferred, and given by no model"),
        (default(1, model="gbm"), "marked default, and given by gbm"),
        (asked(1, model="fast"), "marked preferred, and given by fast"),
        (asked(1, model="gbm+fast"), "marked preferred, and given by fast"),
        (default(1, result=b"7"), "marked default, and not the schedule's"),
    ],
)
def test_a_wrong_mark_breaks_the_promise(entry, says):
    text = the_one([entry])
    assert text.startswith("a default or fallback is always marked as such: 1 ")
    assert says in text


def test_of_an_unknown_schedule_only_the_marks_are_judged():
    assert verdict([asked(1, model="fast", schedule="inline@9", waited_ms=900.0)]).broken == []


def test_a_second_answer_breaks_the_promise():
    assert "the same id in two answers: id-1" in the_one([asked(1), asked(1)])
    record = recorded(GOOD, twice=["id-1"])
    assert "two recorded results: id-1" in the_one(GOOD, record=record)


def test_a_different_or_missing_record_breaks_the_promise():
    answers = dict(recorded(GOOD).answers)
    answers["id-1"] = RecordedAnswer("fallback", "fast", LABEL, "server")
    assert "answers that are recorded differently: id-1" in the_one(
        GOOD, record=recorded(GOOD, answers=answers)
    )
    del answers["id-1"]
    assert "answers that are not recorded: id-1" in the_one(
        GOOD, record=recorded(GOOD, answers=answers)
    )


def test_a_lost_request():
    record = recorded(GOOD, logged=frozenset({"id-1", "id-2", "id-3"}))
    assert "answered requests that are not in the input stream: id-4" in the_one(
        GOOD, record=record
    )
    # The drill itself has damaged a record, which may be the missing one.
    record = recorded(GOOD, logged=record.logged, damaged=1)
    assert verdict(GOOD, record=record).broken == []


def test_damage_that_is_not_named():
    text = the_one(GOOD, record=recorded(GOOD, unnamed=["input/p-1/0/0.jsonl"]))
    assert "files were damaged, and verify finds nothing in input/p-1/0/0.jsonl" in text


def test_a_part_that_does_not_recover_breaks_the_promise():
    found = verdict(GOOD, [span(recovered_ms=None)])
    assert found.broken_codes == ["not_recovered"]
    assert found.broken == [
        "every part recovers by itself: the mix was not back within 0 s, at stop server-0"
    ]
    assert found.rows[0].recovery_ms is None
    assert verdict(GOOD, [span(recovered_ms=None, skipped=True)]).broken == []


def test_requests_belong_to_the_exercise_in_whose_time_they_were_due():
    second = Span(PROXY, 500 * MS, 600 * MS, 600 * MS, 700 * MS, 900 * MS)
    entries = [asked(1, 499), asked(2, 500), asked(3, 899), asked(4, 950)]
    assert [row.requests for row in verdict(entries, [span(), second]).rows] == [1, 2]
