"""Check commands as models: other languages, and everything that a process can do wrong."""

import os
import signal
import sys
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.coded import NO_FAULT
from rdv.models import ModelError, ModelNotLoaded, trouble_of
from rdv.models.child import Backoff, Garbage, question, read_answer
from rdv.models.command import CommandModel

SHELL = """while IFS= read -r line; do
  id=${line#'{"id":'}; id=${id%%,*}; echo "{\\"id\\":$id,\\"result\\":{\\"score\\":0.5}}"
done"""
PYTHON = """
import json, os, signal, sys, time
answered = 0
def answer(**values): print(json.dumps(values), flush=True)
for line in sys.stdin:
    row = json.loads(line); number, data = row["id"], row["data"]
"""


@pytest.fixture
def start(tmp_path):
    """Start commands; after the test, all are ended and none of their processes is left."""
    models, log = [], []

    def begin(command, **options):
        options = {"predict_timeout_ms": 10_000, "log": log.append} | options
        if isinstance(command, str):
            command = [sys.executable, "-S", "-c", PYTHON + command]
        model = CommandModel("m", command, str(tmp_path), **options)
        models.append(model)
        return model

    begin.log = log
    yield begin
    for model in models:
        model.close()
        model.close()


def errors(outcomes):
    return [(o.cause, o.reason) if isinstance(o, ModelError) else o for o in outcomes]


def test_a_shell_script(start):
    model = start(["sh", "-c", SHELL])
    assert model.takes == "data"
    assert model.predict([b'{"a": 1}', b"2"]) == [b'{"score":0.5}'] * 2
    assert model.predict([]) == []
    assert model.predict([b'"\\n"']) == [b'{"score":0.5}']


def test_answers_in_any_order_and_errors_by_row(start):
    model = start("""
    if data < 3:
        keep = (number, data); later = globals().setdefault("later", []); later.append(keep)
        continue
    answer(id=number, error="three\\nis too many")
    for n, d in reversed(later): answer(id=n, result=d * 10)
""")
    assert errors(model.predict([b"1", b"2", b"3"])) == [
        b"10",
        b"20",
        ("exception", "three is too many"),
    ]


def test_pretty_printed_data_is_one_line(start):
    model = start("    answer(id=number, result=data)\n")
    assert orjson.loads(model.predict([b'{\n  "a": 1\n}'])[0]) == {"a": 1}


def test_more_than_the_pipes_hold(start):
    """With two megabytes each way, writing everything before reading would block forever."""
    model = start("    answer(id=number, result=data)\n")
    rows = [b'"%b"' % (b"x" * 10_000)] * 200
    assert model.predict(rows) == rows


def test_results_are_checked(start):
    model = start("""
    print('{"id":%d,"result":%s}' % (number, data), flush=True)
""", result_bytes_max=20)  # fmt: skip
    rows = [b'"null"', b'"NaN"', b'"[1,2]"', b'"[%b]"' % (b"1," * 20 + b"1")]
    got = model.predict(rows[:1]) + model.predict(rows[2:])
    assert errors(got)[:2] == [("result", "the model's result is null"), b"[1,2]"]
    assert "more than 20" in str(got[2])
    assert errors(model.predict([b'"NaN"']))[0][0] == "garbage"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("answer(id=number, result=float('nan'))", "it wrote"),
        ("answer(id=number, result=[1, float('-inf')])", "it wrote"),
        ("answer(id=number, result='\\ud800')", "it wrote"),
        ("answer(id=number, result=2**64)", "not within -2^63 to 2^64-1"),
        ("answer(id=number, result=1, error=5)", "Expected `str | null`"),
        ("answer(id=number)", "neither a result nor an error"),
        ("answer(id=number, result=None)", "is null"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_of_its_row_only(start, code, reason):
    model = start(f"""
    if data == "bad":
        {code}
    else:
        answer(id=number, result=os.getpid())
""")
    (pid,) = model.predict([b"1"])
    good, bad, after = errors(model.predict([b"7", b'"bad"', b"8"]))
    assert (good, after) == (pid, pid)
    assert reason in bad[1]
    assert model.predict([b"9"]) == [pid]
    assert start.log == []


@pytest.mark.parametrize(
    ("code", "cause", "reason"),
    [
        ("sys.exit(3)", "exit", "it ended with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "exit", "it was ended by SIGSEGV"),
        ("os.close(1); time.sleep(60)", "exit", "it closed its stdout"),
        ("print('hello', flush=True)", "garbage", "it wrote 'hello'"),
        ("answer(id=number + 99, result=1)", "garbage", "is not an open question"),
        ("answer(id=number - 1, result=1)", "garbage", "is not an open question"),
        ("answer(id='x', result=1)", "garbage", "Expected `int`"),
        ("os.write(1, b'x' * 2_000_000)", "garbage", "a line of more than"),
        ("os.write(1, b'[' * 2_000 + b'\\n')", "garbage", "it wrote"),
        ("time.sleep(60)", "timeout", "no answer within"),
    ],
)
def test_what_a_process_can_do_wrong(start, code, cause, reason):
    """Answered rows keep their results, the others get the error; then the model works again."""
    model = start(
        f"""
    if data == "bad":
        {code}
    else:
        answer(id=number, result=data)
""",
        predict_timeout_ms=500,
        start_timeout_ms=2_000,
    )
    assert model.predict([b"1"]) == [b"1"]
    outcomes = errors(model.predict([b"7", b'"bad"', b"8"]))
    assert outcomes[0] == b"7"
    assert outcomes[1][0] == cause
    assert reason in outcomes[1][1]
    assert outcomes[2] in (outcomes[1], b"8")
    assert model.predict([b"9"]) == [b"9"]
    assert any("the command has failed" in line for line in start.log)


def test_a_command_that_ends_between_batches_costs_no_row(start):
    model = start(
        "    answer(id=number, result=os.getpid())\n", backoff=Backoff(first_ms=1, longest_ms=1)
    )
    pids = set()
    for _ in range(3):
        (pid,) = model.predict([b"1"])
        pids.add(pid)
        os.kill(int(pid), signal.SIGKILL)
        while not model._process.has_exited():
            time.sleep(0.005)
    assert len(pids) == 3


def test_one_that_never_works_is_started_less_and_less(start):
    model = start(
        ["sh", "-c", "read line; exit 4"], backoff=Backoff(first_ms=60_000, longest_ms=60_000)
    )
    failures = [errors(model.predict([b"1"]))[0] for _ in range(4)]
    assert {cause for cause, _ in failures} == {"exit"}
    assert "exit code 4; next start in" in failures[-1][1]
    assert sum("exit code" in line for line in start.log) <= 3


def test_one_that_ends_at_once_is_not_started(start):
    with pytest.raises(ModelNotLoaded, match="exit code 4, without being asked anything"):
        start(["sh", "-c", "exit 4"], start_look_ms=10_000)


def test_a_command_that_ends_between_batches_is_noticed(start):
    model = start(["sh", "-c", "read line; exit 4"])
    assert trouble_of(model) == NO_FAULT
    os.killpg(model._process.pid, signal.SIGKILL)
    assert model._process.ends_within(30)
    assert "it was ended by SIGKILL" in trouble_of(model).text


def test_trouble_begins_with_the_second_end_and_ends_with_an_answer(start):
    code = "    if data == 0: sys.exit(3)\n    answer(id=number, result=1)\n"
    model = start(code, backoff=Backoff(0, 0))
    model.predict([b"0"])
    assert trouble_of(model) == NO_FAULT
    model.predict([b"0"])
    assert "exit code 3" in trouble_of(model).text
    assert model.predict([b"1"]) == [b"1"]
    assert trouble_of(model) == NO_FAULT


def test_a_command_that_is_not_there(start, tmp_path):
    with pytest.raises(ModelNotLoaded, match="No such file"):
        start(["there-is-no-such-command"])
    script = tmp_path / "m.sh"
    script.write_text("#!/bin/sh\nread line\nexit 1\n")
    script.chmod(0o755)
    model = start([str(script)])
    script.unlink()
    model.predict([b"1"])
    assert "cannot be started" in str(model.predict([b"1"])[0])


def test_its_stderr_is_passed_on(start, capfd, tmp_path):
    model = start(["sh", "-c", "echo oops >&2; " + SHELL])
    model.predict([b"1"])
    model.close()
    assert start.log[0] == "oops"
    loud = CommandModel("gbm", ["sh", "-c", "echo oops >&2; " + SHELL], str(tmp_path))
    loud.predict([b"1"])
    loud.close()
    assert "gbm: oops\n" in capfd.readouterr().err


def test_endless_stderr_is_no_trouble(start):
    model = start("""
    sys.stderr.write("x" * 1_000_000); sys.stderr.flush()
    answer(id=number, result=1)
""")
    assert model.predict([b"1", b"2"]) == [b"1", b"1"]
    model.close()
    assert max(map(len, start.log)) <= 4096


def test_closing_ends_it_and_its_children(start, tmp_path):
    script = f"sleep 60 & echo $! > {tmp_path}/child; trap '' TERM; " + SHELL + "; sleep 60"
    model = start(["sh", "-c", script])
    model.predict([b"1"])
    child = int((tmp_path / "child").read_text())
    began = time.monotonic()
    model.close()
    assert time.monotonic() - began < 8
    assert gone(child)


def gone(pid):
    """Return whether the process ends within 2 s; a zombie counts as ended."""
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_nothing_leaks(start):
    model = start("    sys.exit(1)\n", backoff=Backoff(first_ms=1, longest_ms=1))
    model.predict([b"1"])
    before, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(10):
        time.sleep(0.002)
        model.predict([b"1"])
    assert len(os.listdir("/dev/fd")) <= before + 3
    assert threading.active_count() <= threads + 1


@given(st.integers(1, 2**62), st.binary(max_size=20).map(orjson.dumps(None).__add__))
def test_a_question_is_one_line(number, data):
    line = question(number, data)
    assert line.startswith(b'{"id":%d,"data":' % number)
    assert line.count(b"\n") == 1


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_line_is_an_answer_or_garbage(line):
    try:
        number, _ = read_answer(line, 1000)
    except Garbage:
        return
    assert isinstance(number, int)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20_000)), max_size=40))
def test_backoff_is_bounded_and_forgets(events):
    backoff, now, last = Backoff(100, 10_000), 0, 0
    for worked, passed_ms in events:
        now += passed_ms * 1_000_000
        if worked:
            backoff.answered()
            assert backoff.wait_ms(now) == 0
            last = 0
        else:
            backoff.failed(now)
            wait = backoff.wait_ms(now)
            assert wait <= 10_000
            assert wait >= last or passed_ms
            assert backoff.wait_ms(now + wait * 1_000_000) == 0
            last = wait


def test_backoff_doubles():
    backoff = Backoff(100, 1_000)
    waits = []
    for _ in range(7):
        backoff.failed(0)
        waits.append(backoff.wait_ms(0))
    assert waits == [0, 100, 200, 400, 800, 1_000, 1_000]


def test_a_command_may_say_that_the_data_is_invalid():
    from rdv.models.child import read_answer

    line = b'{"id": 3, "refuse": "bad_input", "why": "no age"}'
    assert read_answer(line, 100) == (3, ModelError("no age", "input"))
    assert read_answer(line, 100)[1].code == "bad_input"
    number, error = read_answer(b'{"id": 3, "refuse": "tired"}', 100)
    assert (number, error.cause) == (3, "garbage")
    assert "tired" in error.reason
