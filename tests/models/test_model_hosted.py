"""Check models in an interpreter of their own: the same answers, errors by row, restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile

import orjson
import pytest

from rdv.models import ModelError, ModelNotLoaded, evaluate, open_model, trouble_of
from rdv.models.environments import COMPLETE, EnvironmentUnusable, use_interpreter

MODEL = """
import dataclasses, enum, os, sys, time, uuid
version = "7"
columns = {"a": "number"}

@dataclasses.dataclass
class Point:
    x: float

class Kind(enum.Enum):
    GOOD = "good"

MADE = {
    "nan": float("nan"), "deep": {"b": [1, float("inf")]}, "none": None, "set": {2, 1},
    "point": Point(0.5), "bad point": Point(float("nan")), "kind": Kind.GOOD, "wide": 2**70,
    "object": object(), "text": "ä\\n\\u2028", "keys": {1: 2}, "nested": {"n": None}, "true": True,
}

def predict(rows):
    if "raise" in rows:
        raise ValueError("no such luck")
    if "exit" in rows:
        os._exit(3)
    if "hang" in rows:
        time.sleep(3600)
    if "short" in rows:
        return [1]
    if "string" in rows:
        return "abc"
    if "leave" in rows:
        sys.exit(4)
    if "noise" in rows:
        print("a model that prints")
        os.write(1, b"to the descriptor, too\\n")
        assert sys.stdin.read() == ""
    return [MADE[row] if row in MADE else {"row": row} for row in rows]
"""


@pytest.fixture
def hosted(tmp_path):
    """Return a function that opens the model in a process of its own."""
    (tmp_path / "m.py").write_text(MODEL)
    opened, log = [], []

    def make(text=None, **settings):
        if text is not None:
            (tmp_path / "m.py").write_text(text)
        settings = {"python": sys.executable, "log": log.append} | settings
        opened.append(open_model(str(tmp_path), "m", path="m.py", **settings))
        return opened[-1]

    make.log = log
    yield make
    for model in opened:
        model.close()


def ask(model, *rows):
    return evaluate(model, [orjson.dumps(row) for row in rows])


def test_the_same_answers_and_errors_as_in_the_worker_itself(hosted, tmp_path):
    other = hosted()
    own = open_model(str(tmp_path), "m", path="m.py")
    assert other.version == own.version
    names = [
        "nan", "deep", "none", "set", "point", "bad point", "kind", "wide", "text", "keys",
        "nested", "true", "x", "short", "string", "leave", "raise",
    ]  # fmt: skip
    for rows in (*([name] for name in names), names[:13], ["x", "raise", "nan"], [1.5, {"a": 1}]):
        ours, theirs = ask(own, *rows), ask(other, *rows)
        for row, one, found in zip(rows, ours, theirs, strict=True):
            assert type(found) is type(one), rows
            if isinstance(one, bytes):
                assert orjson.loads(found) == orjson.loads(one)
            else:
                assert found.cause == one.cause
                assert row == "wide" or found.reason == one.reason


def test_what_has_no_json_form_is_an_error_of_its_row(hosted):
    fine, bad = ask(hosted(), "x", "object")
    assert fine == b'{"row":"x"}'
    assert (bad.cause, "object has no JSON form" in bad.reason) == ("result", True)


def test_the_model_may_say_that_the_input_is_at_fault(hosted):
    text = """
class InputError(ValueError): ...
def predict(rows):
    for row in rows:
        if row == 1: raise InputError("no amount")
        if row == 2: raise KeyError("amount")
    return rows
"""
    found = ask(hosted(text, input_errors=["LookupError"]), 0, 1, 2)
    assert found[0] == b"0"
    assert [(one.cause, one.reason) for one in found[1:]] == [
        ("input", "no amount"),
        ("input", "KeyError: 'amount'"),
    ]


def test_rows_that_are_not_json_are_errors_of_themselves(hosted):
    found = evaluate(hosted(), [b"1,2"])
    assert [one.cause for one in found] == ["data"]


def test_what_the_model_prints_goes_to_the_log(hosted):
    ask(hosted(), "noise")
    ask(hosted(), "x")
    assert "to the descriptor, too" in hosted.log


def test_a_crash_costs_its_batch_and_the_next_one_finds_a_new_process(hosted):
    model = hosted()
    (lost,) = ask(model, "exit")
    assert (lost.cause, "exit code 3" in lost.reason) == ("exit", True)
    assert ask(model, "x") == [b'{"row":"x"}']
    os.kill(model._process.pid, signal.SIGKILL)
    assert model._process.ends_within(60)
    assert ask(model, "x") == [b'{"row":"x"}']


def test_a_hang_is_ended_by_the_timeout(hosted):
    model = hosted(predict_timeout_ms=300)
    (lost,) = ask(model, "hang")
    assert (lost.cause, lost.code) == ("timeout", "timeout")


def test_a_process_that_keeps_failing_waits_and_says_why(hosted):
    model = hosted()
    for _ in range(4):
        (lost,) = ask(model, "exit")
        assert isinstance(lost, ModelError)
    assert "the model's process has failed" in trouble_of(model).text


@pytest.mark.parametrize(
    ("text", "words", "may_pass"),
    [
        ("import nosuchlibrary", "No module named 'nosuchlibrary'", False),
        ("x = 1", "it has no function predict(rows)", False),
        ("import os; os._exit(4)", "exit code 4", True),
        ("raise ConnectionRefusedError('no')", "ConnectionRefusedError: no", True),
    ],
)
def test_what_cannot_be_loaded_says_why(hosted, text, words, may_pass):
    with pytest.raises(ModelNotLoaded) as caught:
        hosted(text)
    assert words in caught.value.text()
    assert caught.value.may_pass is may_pass


def test_a_model_that_hangs_while_it_is_loaded_is_ended(hosted):
    with pytest.raises(ModelNotLoaded, match="not loaded within 300 ms"):
        hosted("import time; time.sleep(3600)", start_timeout_ms=300)


def test_a_program_that_is_no_python_is_refused(hosted):
    with pytest.raises(ModelNotLoaded, match="exit code"):
        hosted(python="/bin/false")
    with pytest.raises(ModelNotLoaded, match="there is no interpreter"):
        hosted(python="./nosuch/bin/python")


def test_it_finds_its_siblings_and_none_of_rdv(hosted, tmp_path, monkeypatch):
    (tmp_path / "features.py").write_text("x = 5")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    text = (
        "import features, os, sys\n"
        "def predict(rows): return [[features.x, sys.path, 'PYTHONPATH' in os.environ]]"
    )
    found, path, has_variable = orjson.loads(ask(hosted(text), 1)[0])
    assert found == 5
    assert not has_variable
    assert not any(one.endswith("rdv/models") for one in path)


def wheel(folder, version):
    """Make a wheel of the library `tiny`, by hand."""
    name = f"tiny-{version}"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as file:
        file.writestr("tiny.py", f"version = {version!r}\n")
        about = f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
        file.writestr(f"{name}.dist-info/METADATA", about)
        tags = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{name}.dist-info/WHEEL", tags)
        file.writestr(f"{name}.dist-info/RECORD", "")
    (folder / f"{version}.txt").write_text(f"./{name}-py3-none-any.whl\n")


TINY = "import tiny\nversion = tiny.version\ndef predict(rows): return [tiny.version] * len(rows)\n"


def test_models_with_libraries_that_conflict_stand_side_by_side(hosted, tmp_path):
    for version in ("1.0", "2.0"):
        wheel(tmp_path, version)
    models = [hosted(TINY, python="", requirements=f"{v}.txt") for v in ("1.0", "2.0")]
    assert [ask(model, 1) for model in models] == [[b'"1.0"'], [b'"2.0"']]
    assert models[0].version.startswith("1.0@")
    folder = tmp_path / ".rdv" / "environments"
    made = {path.name: path.stat().st_ino for path in folder.iterdir() if path.is_dir()}
    assert len(made) == 2
    again = hosted(TINY, python="", requirements="1.0.txt")
    assert ask(again, 1) == [b'"1.0"']
    assert {p.name: p.stat().st_ino for p in folder.iterdir() if p.is_dir()} == made


def test_an_environment_whose_making_was_killed_is_made_again(tmp_path):
    wheel(tmp_path, "1.0")
    code = "import sys; from rdv.models.environments import use_interpreter as use; "
    code += "print(use(sys.argv[1], '', '1.0.txt').python)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr.readline()  # it says that it begins
        os.killpg(process.pid, signal.SIGKILL)
    made = use_interpreter(str(tmp_path), "", "1.0.txt")
    seen = subprocess.check_output([made.python, "-c", "import tiny; print(tiny.version)"])
    assert seen == b"1.0\n"
    made.close()


def test_two_processes_make_an_environment_once(tmp_path):
    wheel(tmp_path, "1.0")
    code = "import sys; from rdv.models.environments import use_interpreter as use; "
    code += "use(sys.argv[1], '', '1.0.txt')"
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("making an environment" in text for text in said) == 1


def test_old_environments_that_are_not_used_are_removed(tmp_path):
    for version in ("1.0", "2.0", "3.0", "4.0"):
        wheel(tmp_path, version)
    used = use_interpreter(str(tmp_path), "", "1.0.txt")
    for version in ("2.0", "3.0"):
        use_interpreter(str(tmp_path), "", f"{version}.txt").close()
    places = {p: p.parent / COMPLETE for p in (tmp_path / ".rdv/environments").glob("*/pyvenv.cfg")}
    assert len(places) == 3
    for complete in list(places.values())[:]:
        os.utime(complete, (0, 0))
    third = use_interpreter(str(tmp_path), "", "3.0.txt")  # is used now
    use_interpreter(str(tmp_path), "", "4.0.txt").close()
    left = {p.parent for p in (tmp_path / ".rdv/environments").glob("*/pyvenv.cfg")}
    assert len(left) == 3
    for one in (used, third):
        assert os.path.exists(one.python)
        one.close()


@pytest.mark.parametrize("text", ["nosuchfile.whl @ x", "./nosuch-1.0-py3-none-any.whl", "tiny =="])
def test_libraries_that_cannot_be_installed_are_named(tmp_path, text):
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(EnvironmentUnusable, match="cannot be installed"):
        use_interpreter(str(tmp_path), "", "r.txt")
    with pytest.raises(EnvironmentUnusable, match=r"nosuch\.txt"):
        use_interpreter(str(tmp_path), "", "nosuch.txt")


def test_the_columns_of_a_hosted_model_are_known(hosted):
    from rdv.models.columns import columns_of

    (column,) = columns_of(hosted())
    assert (column.name, column.type) == ("a", "number")
    assert json.dumps(hosted().columns)
