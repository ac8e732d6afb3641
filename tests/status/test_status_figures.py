from __future__ import annotations

import json

import msgspec
from fake_clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from rdv.decision import load_decision
from rdv.decision.holder import Holder
from rdv.rendezvous.messages import Result, encode_result
from rdv.serve.observer import Observer
from rdv.status.lines import (
    LastLines,
    ScaleLine,
    judge,
    lives_elsewhere,
    on_this_clock,
    read_scaling,
    read_status,
)
from rdv.status.models import model_rows, process_rows, unlogged, unlogged_text, unread
from rdv.status.window import OffRecord, ResultWindow, percentile
from rdv.stream import create_stream, open_stream

SECOND_NS = 1_000_000_000


def line(name="gbm-0", pid=7, state="ready", time_ns=0, **fields):
    role = fields.pop("role", "worker")
    plain = {"role": role, "name": name, "pid": pid, "state": state, "time_ns": time_ns, **fields}
    return read_status(json.dumps(plain).encode())


def everybody(pid):
    return True


def nobody(pid):
    return False


def test_what_is_no_line_is_nothing():
    for value in (b"", b"{", b"[]", b"3", b'{"name": "x"}', b'{"pid": "7"}', b"[" * 100_000):
        assert read_status(value) is None


def test_what_becomes_of_a_process():
    one = line()
    assert judge(one, SECOND_NS, everybody).state == "ready"
    assert judge(one, 60 * SECOND_NS, everybody).state == "silent"
    assert judge(one, SECOND_NS, nobody).state == "dead"
    assert judge(line(state="stopped"), SECOND_NS, nobody).state == "stopped"
    assert judge(line(state="starting"), 60 * SECOND_NS, everybody).state == "starting"


def test_one_entry_a_name_but_two_that_live():
    roll = LastLines()
    roll.add(line(pid=1, time_ns=1))
    roll.add(line(pid=2, time_ns=2))
    assert [s.line.pid for s in roll.latest(3, everybody)] == [1, 2]
    assert [s.line.pid for s in roll.latest(3, lambda pid: pid == 2)] == [2]
    assert [s.line.pid for s in roll.latest(3, lambda pid: pid == 1)] == [1]


def states(roll, now_ns, is_process):
    return [seen.state for seen in roll.latest(now_ns, is_process)]


def test_a_process_that_keeps_ending_is_not_ready():
    roll = LastLines()
    for pid in (1, 2):
        roll.add(line(pid=pid, state="starting", time_ns=pid * SECOND_NS))
        assert states(roll, 3 * SECOND_NS, nobody) == [["dead", "restarting"][pid - 1]]
    roll.add(line(pid=3, time_ns=3 * SECOND_NS))
    assert states(roll, 3 * SECOND_NS, lambda pid: pid == 3) == ["failing"]
    # A minute without an end: it counts as ready again.
    roll.add(line(pid=3, time_ns=63 * SECOND_NS))
    assert states(roll, 63 * SECOND_NS, lambda pid: pid == 3) == ["ready"]
    # It is not being restarted any more.
    assert states(roll, 79 * SECOND_NS, nobody) == ["dead"]


def test_a_restarted_process_is_ready_again():
    roll = LastLines()
    roll.add(line(pid=1))
    roll.add(line(pid=2, state="starting", time_ns=SECOND_NS))
    assert states(roll, SECOND_NS, lambda pid: pid == 2) == ["restarting"]
    roll.add(line(pid=2, time_ns=2 * SECOND_NS))
    assert states(roll, 2 * SECOND_NS, lambda pid: pid == 2) == ["ready"]


def test_a_process_that_was_asked_to_stop_is_still_running():
    roll = LastLines()
    for pid in (1, 2, 3):
        roll.add(line(pid=pid, state="stopped"))
    roll.add(line(pid=4, time_ns=1))
    assert states(roll, SECOND_NS, lambda pid: pid == 4) == ["ready"]


def test_the_trouble_of_a_command_is_the_models():
    roll = LastLines()
    roll.add(line(model="gbm", trouble="the command has failed: it ended with exit code 1"))
    (row,) = model_rows(["gbm"], roll.latest(0, everybody), {}, {})
    assert (row["state"], row["instances"]) == ("failing", 1)
    assert row["trouble"] == "the command has failed: it ended with exit code 1"
    roll.add(line("gbm-1", 8, model="gbm"))
    (row,) = model_rows(["gbm"], roll.latest(0, everybody), {}, {})
    assert row["state"] == "ready"


def test_late_scores_do_not_count_as_late_answers():
    roll = LastLines()
    roll.add(line("server-0", role="server", late=3))
    roll.add(line("p-1", 8, role="proxy", late=4))
    server, proxy = process_rows([], roll.latest(0, everybody))
    assert "late" not in server["figures"]
    assert server["figures"]["scores_after_decision"] == 3
    assert proxy["figures"]["late"] == 4


def test_a_model_that_another_supervisor_runs_is_recognised():
    there = [line(pid=1, model="gbm")]
    assert lives_elsewhere(there, "gbm", [], 0, everybody)
    assert not lives_elsewhere(there, "gbm", [1], 0, everybody)
    assert not lives_elsewhere(there, "gbm", [], 60 * SECOND_NS, everybody)
    assert not lives_elsewhere(there, "gbm", [], 0, nobody)
    assert not lives_elsewhere(there, "mlp", [], 0, everybody)


def test_models_add_up_over_their_workers():
    roll = LastLines()
    roll.add(line("gbm-0", 1, model="gbm", version="a", scored=3, refused=1, failed=0, row_ms=0.5))
    roll.add(line("gbm-1", 2, model="gbm", version="b", scored=4, refused=0, failed=2, row_ms=0.7))
    roll.add(line("guest-0", 3, model="guest", scored=1))
    seen = roll.latest(0, everybody)
    rows = model_rows(["gbm", "mlp"], seen, {"gbm": 9}, {"gbm": 5})
    gbm, mlp, guest = rows
    assert (gbm["instances"], gbm["version"], gbm["scored"]) == (2, "a, b", 7)
    assert (gbm["refused"], gbm["failed"], gbm["lag"], gbm["row_ms"]) == (1, 2, 9, 0.7)
    assert (gbm["answers"], gbm["declared"]) == (5, True)
    assert (mlp["state"], mlp["instances"], mlp["lag"]) == ("not running", 0, None)
    assert (guest["model"], guest["declared"]) == ("guest", False)
    assert [row["model"] for row in model_rows(["gbm"], [], {}, {})] == ["gbm"]


def test_processes_that_should_be_there_are_shown_also_when_they_are_not():
    roll = LastLines()
    roll.add(line("gbm-0", 1, model="gbm"))
    roll.add(line("old-0", 2, state="stopped", model="old"))
    rows = process_rows(["server-0", "gbm-0"], roll.latest(0, everybody))
    assert [(row["name"], row["state"]) for row in rows] == [
        ("server-0", "not running"),
        ("gbm-0", "ready"),
    ]


def result(number, kind="preferred", waited_ms=1.0, model="gbm", by="server", schedule="s@1"):
    raw = msgspec.Raw(b"1")
    return Result(str(number), "p-1", kind, raw, schedule, waited_ms, model=model, answered_by=by)


def sla_50(label):
    return 50.0 if label == "s@1" else None


def test_a_window_counts_the_answers_that_clients_got():
    window = ResultWindow(10.0)
    window.add(SECOND_NS, result(0))
    for number in range(1, 9):
        window.add(11 * SECOND_NS, result(number, waited_ms=number))
    window.add(11 * SECOND_NS, result(9, "fallback", 61.0, "mlp"))
    window.add(11 * SECOND_NS, result(10, "default", 53.0, None, by="proxy"))
    window.add(11 * SECOND_NS, result(10, "preferred", 70.0))
    window.add(11 * SECOND_NS, result(11, "preferred", 500.0, schedule="unknown@2"))
    found = window.figures(12 * SECOND_NS, sla_50)
    assert (found["answers"], found["rate"]) == (11, 1.1)
    assert found["kinds"] == {"preferred": 9 / 11, "fallback": 1 / 11, "default": 1 / 11}
    assert (found["misses"], found["by_proxy"]) == (1, 1)
    assert found["models"] == {"gbm": 9, "mlp": 1}
    assert found["waited_ms"]["p50"] == 6.0
    assert found["waited_ms"]["max"] == 500.0


def test_a_window_of_nothing():
    found = ResultWindow().figures(0, sla_50)
    assert (found["answers"], found["rate"], found["waited_ms"]["p99"]) == (0, 0.0, None)


def test_the_rate_of_a_young_decision():
    window = ResultWindow(10.0)
    window.add(0, result(0))
    assert window.figures(0, sla_50, running_s=2.0)["rate"] == 0.5


def proxy_line(time_s, pid=1, **counts):
    return line("p-1", pid, time_ns=int(time_s * SECOND_NS), role="proxy", **counts)


def test_what_is_answered_and_not_on_record_counts_in_the_shares():
    """A proxy that answered every second request with the default was shown as 100 % preferred."""
    window, off_record = ResultWindow(seconds=10), OffRecord(10)
    for number in range(4):
        window.add(95 * SECOND_NS, result(number))
    off_record.add(proxy_line(60, default=50, lost_answers=30, unrecorded=7))
    off_record.add(proxy_line(89, default=100, lost_answers=60, unrecorded=0))
    off_record.add(proxy_line(95, default=103, lost_answers=62, unrecorded=1))
    off_record.add(proxy_line(99, default=104, lost_answers=62, unrecorded=2))
    assert off_record.count(100 * SECOND_NS) == 4
    figures = window.figures(100 * SECOND_NS, sla_50, off_record=4)
    assert figures["kinds"] == {"preferred": 0.5, "fallback": 0.0, "default": 0.5}
    assert (figures["answers"], figures["off_record"], figures["rate"]) == (8, 4, 0.8)


def test_what_was_answered_before_the_window_is_not_of_it():
    """Answers that wait for a full disk may be an hour old."""
    off_record = OffRecord(10)
    off_record.add(proxy_line(89, default=900, unrecorded=900))
    off_record.add(proxy_line(99, default=903, unrecorded=903))
    assert off_record.count(100 * SECOND_NS) == 3
    assert off_record.count(300 * SECOND_NS) == 0
    off_record.add(line(role="server", time_ns=299 * SECOND_NS, lost_answers=5, default=5))
    assert off_record.count(300 * SECOND_NS) == 0


def test_each_process_of_a_proxy_counts_for_itself():
    off_record = OffRecord(10)
    for pid in (1, 2):
        off_record.add(proxy_line(95, pid))
        off_record.add(proxy_line(96 + pid, pid, default=3, lost_answers=2, unrecorded=1))
    assert off_record.count(100 * SECOND_NS) == 6


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_percentiles_by_their_definition(values, percent):
    ordered = sorted(values)
    found = percentile(ordered, percent)
    not_above = sum(value <= found for value in ordered)
    below = sum(value < found for value in ordered)
    assert not_above >= percent / 100 * len(ordered) - 1e-6
    assert below < percent / 100 * len(ordered) + 1e-6


def test_what_is_scaled_says_how_many_and_why():
    roll = LastLines()
    roll.add(line(pid=1, model="gbm"))
    said = {
        "gbm": ScaleLine("gbm", 2, 1, 4, "50 of 150 requests/s missed their window", 7),
        "rare": ScaleLine("rare", 0, 0, 1, "not asked for 60 s", 8),
        "late": ScaleLine("late", 1, 0, 1, "it is asked for", 9),
    }
    names = ["gbm", "rare", "late", "mlp"]
    rows = model_rows(names, roll.latest(1, everybody), {}, {}, said)
    assert [row["state"] for row in rows] == ["ready", "asleep", "not running", "not running"]
    gbm, rare, _, mlp = (row["scaling"] for row in rows)
    assert (gbm["wanted"], gbm["min"], gbm["max"], gbm["since_ns"]) == (2, 1, 4, 7)
    assert rare["reason"] == "not asked for 60 s"
    assert mlp is None


def test_a_line_about_scaling():
    line = ScaleLine("gbm", 2, 1, 4, "load", 7)
    assert read_scaling(msgspec.json.encode(line)) == line
    for value in (b"", b"{", b"3", b'{"model": "x"}', b"[" * 100_000):
        assert read_scaling(value) is None


def test_what_was_not_logged_and_what_could_not_be_read_is_shown():
    lost = "damage in input/p-1/0/7.jsonl: offset 5 of p-1/0: the file is missing"
    living = [
        line("proxy-0", 1, role="proxy", unlogged=3, lost_answers=2, unrecorded=1),
        line("proxy-1", 2, role="proxy", unlogged=4),
        line("server-0", 3, role="server", lost_results=5, unread_records=1, unread=[lost]),
        line("gbm-0", 4, lost_scores=6),
    ]
    seen = [judge(one, SECOND_NS, everybody) for one in living]
    seen.append(judge(line("proxy-9", 9, role="proxy", unlogged=100), SECOND_NS, nobody))
    counts = unlogged(seen)
    assert counts == {
        "unlogged": 7, "unrecorded": 1, "lost_answers": 2, "lost_results": 5, "lost_scores": 6,
    }  # fmt: skip
    assert unlogged_text(counts).startswith("7 requests that no model saw, 1 answers that wait")
    assert unlogged_text(unlogged([])) == ""
    codes = {"what": [lost], "what_codes": [""]}  # of rdv 0.2.0, which wrote none
    assert unread(seen) == [{"name": "server-0", "records": 1, **codes}]


def test_no_step_of_the_wall_clock_makes_a_process_silent():
    for step_ns in (0, 3_600 * SECOND_NS, -3_600 * SECOND_NS, 10**18):
        one = line(time_ns=10**18, boot="ab", monotonic_ns=5 * SECOND_NS)
        known = on_this_clock(one, 10**18 + step_ns, 6 * SECOND_NS, "ab")
        seen = judge(known, 6 * SECOND_NS, everybody)
        assert (seen.state, seen.age_s) == ("ready", 1.0)
        # Only the wall time of another machine is known; a time in the future counts as age 0.
        other = on_this_clock(one, 10**18 + step_ns, 10**10 * SECOND_NS, "cd")
        assert judge(other, 10**10 * SECOND_NS, everybody).age_s == max(0, step_ns) / 1e9
    plain = line(time_ns=10**18)
    assert on_this_clock(plain, 10**18 + SECOND_NS, 7 * SECOND_NS, "ab").time_ns == 6 * SECOND_NS


def test_a_supervisor_has_served_for_as_long_as_it_has():
    for step_ns in (0, 3_600 * SECOND_NS, -3_600 * SECOND_NS):
        holder = Holder(1, 10**18, "h", [1], 5 * SECOND_NS)
        assert holder.running_s(10**18 + step_ns, 8 * SECOND_NS) == 3.0
    assert Holder(1, 10**18, "h", [1]).running_s(10**18 - 3_600 * SECOND_NS, 8) == 0.0


def test_the_rate_counts_what_right_clocks_have_written(trained, tmp_path):
    """Answers from a clock that was an hour ahead are not in the window once it is set back."""
    directory = str(trained.copy("fraud", tmp_path / "d"))
    decision = load_decision(directory)
    for name in ("control", "results", "input"):
        create_stream(decision.stream_path(name)).close()
    for ahead_s, count in ((3600, 5), (0, 3)):
        address = decision.stream_path("results")
        clock = FakeClock(wall=None, monotonic=None, step_ns=ahead_s * SECOND_NS)
        with open_stream(address, clock=clock) as stream, stream.producer() as producer:
            for number in range(count):
                line = encode_result(result(number + ahead_s))
                producer.send("p", line, partition=0)
    observer = Observer(decision, window_s=60.0)
    assert observer.look()["results"]["answers"] == 3
    observer.close()
