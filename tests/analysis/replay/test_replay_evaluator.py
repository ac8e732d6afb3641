"""Check a model's process: a fault affects only its batch, and no wait is endless."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import orjson
import pytest

from rdv.analysis.errors import ModelKeepsEnding
from rdv.analysis.replay.child import ERROR, NOTHING, RESULT
from rdv.analysis.replay.evaluator import ENDS_IN_A_ROW_MAX, Evaluator, Job, Loading
from rdv.models import ModelNotLoaded

MODEL = """
import os, sys, time
version = "3"
calls = 0

def predict(rows):
    global calls
    calls += 1
    if "raise" in rows:
        raise ValueError("no such luck")
    if "exit" in rows:
        os._exit(3)
    if "segfault" in rows:
        os.kill(os.getpid(), 11)
    if "hang" in rows:
        time.sleep(3600)
    if "noise" in rows:
        print("a model that prints")
        os.write(1, b"to the descriptor, too\\n")
        assert sys.stdin.read() == ""
    if "short" in rows:
        return [1]
    return [float("nan") if row == "nan" else {"row": row, "call": calls} for row in rows]
"""


ANSWERS_5 = r"""
while read -r line; do
    n=${line#*:}
    echo "{\"id\":${n%%,*},\"result\":5}"
done
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "m.py").write_text(MODEL)

    def make(text=None, **settings):
        if text is not None:
            (tmp_path / "m.py").write_text(text)
        return Loading(str(tmp_path), "m", {"path": "m.py"}, **settings)

    return make


def run(evaluator, batches):
    jobs = (Job([orjson.dumps(row) for row in batch], batch) for batch in batches)
    return [(job.about, found) for job, found in evaluator.run(jobs)]


def rows(found):
    return [orjson.loads(text)["row"] for text in found.texts]


def test_order_and_state(load):
    """The batches are more than are sent ahead, and more than the pipes hold."""
    batches = [[f"{n}-{k}" * 20 for k in range(40)] for n in range(1_500)]
    with Evaluator(load()) as evaluator:
        assert (evaluator.version[:2], evaluator.takes) == ("3@", "values")
        found = run(evaluator, batches)
        assert [about for about, _ in found] == batches
        for number, (batch, outcome) in enumerate(found, 1):
            assert rows(outcome) == batch
            assert orjson.loads(outcome.texts[0])["call"] == number
            assert outcome.took_ns > 0
        (code,) = evaluator.evaluate([b'"one"']).codes
        assert code == RESULT
    assert evaluator.ends == 0


def test_large_rows(load):
    batches = [["x" * 3_000_000] for _ in range(6)]
    loading = load()
    loading.opening["result_bytes_max"] = 16 * 1024 * 1024
    with Evaluator(loading) as evaluator:
        assert [rows(found) for _, found in run(evaluator, batches)] == batches


def test_whatever_a_model_does_spoils_its_rows_only(load):
    batches = [["a"], ["b", "raise"], ["nan", "c"], ["short", "d"], ["noise"], ["e"]]
    with Evaluator(load()) as evaluator:
        found = [outcome for _, outcome in run(evaluator, batches)]
        codes = [list(outcome.codes) for outcome in found]
        assert codes == [[0], [RESULT, ERROR], [ERROR, RESULT], [ERROR, ERROR], [0], [0]]
        assert found[1].texts[1] == b"ValueError: no such luck"
        assert b"nan" in found[2].texts[0]
        assert b"1 results for 2 rows" in found[3].texts[0]
    assert evaluator.ends == 0


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("exit", "the model's process ended in this batch: it ended with exit code 3"),
        ("segfault", "the model's process ended in this batch: it was ended by SIGSEGV"),
        ("hang", "the model hung and was ended"),
    ],
)
def test_a_model_that_ends_its_process_loses_only_that_batch(load, what, said):
    batches = [["a"], ["b"], ["c", what], ["d"], *([f"e{n}"] for n in range(600))]
    with Evaluator(load(predict_timeout_ms=1_000)) as evaluator:
        found = run(evaluator, batches)
        assert evaluator.ends == 1
    assert [about for about, _ in found] == batches
    for batch, outcome in found:
        if what in batch:
            assert [text.decode() for text in outcome.texts] == [said, said]
            assert list(outcome.codes) == [ERROR, ERROR]
        else:
            assert rows(outcome) == batch


def test_a_model_that_keeps_ending_is_given_up(load):
    with Evaluator(load()) as evaluator, pytest.raises(ModelKeepsEnding) as caught:
        run(evaluator, [["exit"]] * 50)
    assert caught.value.times == ENDS_IN_A_ROW_MAX
    assert "exit code 3" in caught.value.text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import os; os._exit(7)", "while it was loaded, it ended with exit code 7"),
        ("import time; time.sleep(3600)", "it was not ready within 500 ms"),
        ("x = 1", "it has no function predict(rows)"),
    ],
)
def test_what_cannot_be_loaded(load, text, said):
    # Only the model that hangs gets a short timeout.
    timeout_ms = 500 if "sleep" in text else 60_000
    with pytest.raises(ModelNotLoaded) as caught:
        Evaluator(load(text, start_timeout_ms=timeout_ms))
    assert said in caught.value.text()
    assert caught.value.name == "m"


def test_a_command_and_a_decoy(tmp_path):
    script = tmp_path / "m.sh"
    script.write_text(ANSWERS_5)
    loading = Loading(str(tmp_path), "m", {"command": ["bash", "m.sh"]})
    with Evaluator(loading) as evaluator:
        assert evaluator.takes == "data"
        found = evaluator.evaluate([b"1", b"2"])
        assert (list(found.codes), found.texts) == ([RESULT, RESULT], [b"5", b"5"])
    with Evaluator(Loading(str(tmp_path), "archive", {"builtin": "decoy"})) as evaluator:
        assert evaluator.takes == "lines"
        assert list(evaluator.evaluate([b'{"id":"a"}\n']).codes) == [NOTHING]


ORPHAN = """
import sys
from rdv.analysis.replay.evaluator import Evaluator, Job, Loading
evaluator = Evaluator(Loading(sys.argv[1], "m", {"path": "m.py"}))
print(evaluator._process.child.pid, flush=True)
list(evaluator.run([Job([b'"hang"'], None)]))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs a descriptor of a process")
def test_the_process_ends_with_the_replay_also_in_the_middle_of_a_hang(load, tmp_path):
    load()
    command = [sys.executable, "-c", ORPHAN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as replay:
        pid = int(replay.stdout.readline())
        watched = os.pidfd_open(pid)
        try:
            replay.send_signal(signal.SIGKILL)
            assert select.select([watched], [], [], 30)[0], "it outlived the replay"
        finally:
            os.close(watched)


SQLITE = """
import sqlite3
def load():
    global db
    db = sqlite3.connect(":memory:")
    db.execute("create table t (x int)")
    db.execute("insert into t values (7)")
def predict(rows):
    return [db.execute("select x from t").fetchone()[0] + row for row in rows]
"""
CHDIR = """
import os
def load():
    os.chdir("/")
def predict(rows):
    os.chdir("/tmp")
    return [row + 7 for row in rows]
"""
LEAVES = """
import sys
def predict(rows):
    if 2 in rows:
        sys.exit("enough")
    return [row + 7 for row in rows]
"""


@pytest.mark.parametrize("text", [SQLITE, CHDIR], ids=["sqlite", "chdir"])
def test_a_replayed_model_may_do_what_a_served_one_may(load, text):
    with Evaluator(load(text)) as evaluator:
        for row in (1, 2):
            assert evaluator.evaluate([b"%d" % row]).texts == [b"%d" % (row + 7)]
        assert evaluator.ends == 0


def test_a_model_that_exits_in_predict_fails_its_rows_only(load):
    with Evaluator(load(LEAVES)) as evaluator:
        found = [evaluator.evaluate([b"%d" % row]) for row in (1, 2, 3)]
    assert [one.codes[0] == ERROR for one in found] == [False, True, False]
    assert b"enough" in found[1].texts[0]
    assert evaluator.ends == 0


def test_a_model_gets_no_other_environment_variables(load, monkeypatch):
    monkeypatch.setenv("OPERATORS_PASSWORD", "hunter2")
    monkeypatch.setenv("MODELS_KEY", "k")
    text = """
import os
def predict(rows):
    block = open("/proc/self/environ").read() if os.path.exists("/proc/self/environ") else ""
    return [[os.environ.get("MODELS_KEY"), "hunter2" in block + str(dict(os.environ))]]
"""
    with Evaluator(load(text)) as evaluator:
        assert evaluator.evaluate([b"1"]).texts == [b"[null,false]"]
    with Evaluator(load(text, env=("MODELS_KEY",))) as evaluator:
        assert evaluator.evaluate([b"1"]).texts == [b'["k",false]']
