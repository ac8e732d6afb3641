"""Check that `verify` accepts correct logs and finds records that were changed."""

from __future__ import annotations

import orjson
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, FAST, MadeLog, make_requests, varied

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import DecisionsDiffer
from rdv.analysis.verify import verify
from rdv.stream import open_stream


def verified(directory):
    with Recorded(str(directory)) as recorded:
        return verify(recorded)


def written(directory, log, change=lambda record: [record]):
    """Write the log with `change` of each record (wall ns, stream, topic, partition, line)."""
    records = log.decide()
    log.decide = lambda: [new for record in records for new in change(record)]
    return log.write(directory)


@pytest.fixture
def log():
    return varied()


def test_a_sound_log_has_no_differences(tmp_path, log):
    found = verified(written(tmp_path, log))
    assert (found.requests, found.same, found.differing) == (400, 400, 0)
    assert found.is_sound
    found.raise_if_broken("d")
    assert not found.by_liveness


def changed(log, wanted, **changes):
    """Return the id of the first request that is `wanted`, and a change of its result."""
    log.decide()
    id_ = next(made.id for made in log.requests if wanted(log.results[made.id]))

    def change(record):
        if record[1] != "results" or id_.encode() not in record[4]:
            return [record]
        line = orjson.loads(record[4]) | changes
        return [(*record[:4], orjson.dumps(line) + b"\n")]

    return id_, change


def is_fallback(result):
    return result.kind == "fallback" and len(result.arrived) > 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("result", {"score": 1.0, "action": "pass"}),
        ("model", "gbm"),
        ("kind", "preferred"),
        ("step", 3),
        ("version", "7"),
        ("cohort", "other"),
        ("arrived", []),
        ("waited_ms", 1.0),
        ("schedule", FAST.label),
    ],
)
def test_a_changed_answer_is_found(tmp_path, log, field, value):
    id_, change = changed(
        log, lambda r: is_fallback(r) and r.schedule.startswith("production"), **{field: value}
    )
    found = verified(written(tmp_path, log, change))
    assert [one.id for one in found.differences] == [id_]
    assert found.differing == 1
    with pytest.raises(DecisionsDiffer, match="1 decision differs"):
        found.raise_if_broken("d")


def test_a_changed_score_is_found(tmp_path, log):
    log.decide()
    made = next(m for m in log.requests if log.results[m.id].kind == "preferred")

    def change(record):
        if record[1] == "scores" and made.id.encode() in record[4]:
            return [(*record[:4], record[4].replace(b'"score":0', b'"score":1'))]
        return [record]

    found = verified(written(tmp_path, log, change))
    assert [one.id for one in found.differences] == [made.id]
    assert "result" in found.differences[0].fields


def test_a_missing_result_is_found(tmp_path, log):
    gone = log.requests[100].id.encode()
    found = verified(
        written(tmp_path, log, lambda r: [] if r[1] == "results" and gone in r[4] else [r])
    )
    # The proxy ran for only half a second more, so it could have died. Not in the next test.
    assert found.unanswered + found.lost_with_proxy == 1


def test_a_missing_result_of_a_proxy_that_lived_on_is_a_fault(tmp_path):
    log = MadeLog(make_requests(300, gap_ms=20))
    gone = log.requests[100].id.encode()
    found = verified(
        written(tmp_path, log, lambda r: [] if r[1] == "results" and gone in r[4] else [r])
    )
    assert found.unanswered_ids == [gone.decode()]
    assert not found.is_sound


def test_an_unanswered_request_is_a_fault_if_its_proxy_lived_on(tmp_path):
    log = MadeLog(make_requests(50))
    gone = log.requests[49].id.encode()
    written(tmp_path, log, lambda r: [] if r[1] == "results" and gone in r[4] else [r])
    assert verified(tmp_path).lost_with_proxy == 1
    clock = FakeClock()
    with (
        open_stream(str(tmp_path / "control"), clock=clock) as control,
        control.producer() as producer,
    ):
        for after_s in (0, 3600):
            clock.move_to(BEGIN_NS + after_s * 10**9)
            line = {"role": "proxy", "name": "p-1", "pid": 7, "state": "ready"}
            producer.send("status", orjson.dumps(line) + b"\n", partition=0)
    assert verified(tmp_path).unanswered_ids == [gone.decode()]


def test_a_result_without_a_request_is_found(tmp_path):
    log = MadeLog(make_requests(300, gap_ms=20))
    gone = log.requests[150].id.encode()
    found = verified(
        written(tmp_path, log, lambda r: [] if r[1] == "input" and gone in r[4] else [r])
    )
    assert found.notes.strays == [gone.decode()]
    assert not found.is_sound


def test_two_results_are_found(tmp_path, log):
    twice = log.requests[7].id.encode()
    found = verified(
        written(tmp_path, log, lambda r: [r, r] if r[1] == "results" and twice in r[4] else [r])
    )
    assert [one.id for one in found.differences] == [twice.decode()]


def test_an_unrecorded_schedule_is_reported(tmp_path, log):
    def change(record):
        text = record[4].replace(FAST.label.encode(), b"fast@000000000000")
        return [(*record[:4], text)]

    found = verified(written(tmp_path, log, change))
    assert list(found.unchecked) == ["schedule fast@000000000000 is not recorded"]
    assert found.is_sound


@pytest.mark.parametrize("told_ms", [(-50, 90), (1, 150), (-9, -5, 1, 150)])
def test_a_model_that_is_known_to_be_dead(tmp_path, told_ms):
    """Accept a decision that did not wait for the dead champion, also if it was soon up again."""
    log = MadeLog(make_requests(40, gap_ms=100))
    log.decide()
    made = next(
        m
        for m in log.requests
        if {s.model for _, s in m.reports} == {"gbm", "logit", "rules"}
        and log.results[m.id].kind == "preferred"
    )
    made.reports = [report for report in made.reports if report[1].model == "logit"]
    at_ms, score = made.reports[0]
    id_, change = changed(
        log,
        lambda r: r.id == made.id,
        kind="fallback",
        model="logit",
        version="1",
        step=2,
        result=orjson.loads(bytes(score.result)) if score.result else None,
        waited_ms=at_ms,
        arrived=[["logit", at_ms, "result"]],
        reason="gbm is down",
    )
    written(tmp_path, log, change)
    assert [one.id for one in verified(tmp_path).differences] == [id_]
    clock = FakeClock()
    with (
        open_stream(str(tmp_path / "control"), clock=clock) as control,
        control.producer() as producer,
    ):
        for state, after_ms in zip(("down", "up") * 2, told_ms, strict=False):
            clock.move_to(made.wall_ns + after_ms * 10**6)
            line = {"model": "gbm", "state": state, "time_ns": clock.wall_ns()}
            producer.send("models", orjson.dumps(line) + b"\n", partition=0)
    assert verified(tmp_path).is_sound


def status_words(directory, words):
    """Write status lines of the proxy p-1: (seconds, pid, error of the wall clock in seconds)."""
    clock = FakeClock()
    with (
        open_stream(str(directory / "control"), clock=clock) as control,
        control.producer() as producer,
    ):
        for at_s, pid, off_s in words:
            clock.move_to(BEGIN_NS + int((at_s + off_s) * 1e9))
            line = {"role": "proxy", "name": "p-1", "pid": pid, "state": "ready"}
            line |= {"boot": "boot", "monotonic_ns": 10**12 + int(at_s * 1e9)}
            producer.send("status", orjson.dumps(line) + b"\n", partition=0)


def without_an_answer(directory, log, number, kept, off_s):
    """Write the log without the result of that request; wall time is wrong after it."""
    ids = {request.id.encode(): request.number for request in log.requests}

    def change(record):
        wall_ns, stream, topic, partition, line = record
        this = next(n for id_, n in ids.items() if id_ in line)
        if this not in kept or (this == number and stream == "results"):
            return []
        return [(wall_ns + int(off_s * 1e9) * (this > number), stream, topic, partition, line)]

    written(directory, log, change)


def test_a_step_of_the_clock_makes_no_fault_of_a_request_that_died_with_its_proxy(tmp_path):
    log = MadeLog(make_requests(500, gap_ms=20))
    kept = {*range(101), *range(250, 500)}
    without_an_answer(tmp_path, log, 100, kept, -3.5)
    status_words(tmp_path, [(0, 7, 0), (1.9, 7, 0), (4.9, 8, -3.5), (9.9, 8, -3.5)])
    found = verified(tmp_path)
    assert (found.lost_with_proxy, found.unanswered, found.differing) == (1, 0, 0)


def test_a_step_of_the_clock_hides_no_fault(tmp_path):
    log = MadeLog(make_requests(101, gap_ms=20))
    without_an_answer(tmp_path, log, 100, set(range(101)), 0)
    status_words(tmp_path, [(0, 7, 0), (1.9, 7, 0), (30, 7, -3600)])
    found = verified(tmp_path)
    assert found.unanswered_ids == [log.requests[100].id]


@pytest.mark.parametrize("off_s", [-3600, -30, 3600, 40_000])
def test_a_step_of_the_clock_between_requests_changes_no_decision(tmp_path, off_s):
    log = MadeLog(make_requests(200, gap_ms=20))
    written(
        tmp_path,
        log,
        lambda r: [(r[0] + off_s * 10**9 * (r[0] > BEGIN_NS + 2 * 10**9), *r[1:])],
    )
    status_words(tmp_path, [(0, 7, 0), (1.9, 7, 0), (10, 7, off_s)])
    found = verified(tmp_path)
    assert (found.requests, found.same, found.differing, found.unanswered) == (200, 200, 0, 0)
    assert found.is_sound
