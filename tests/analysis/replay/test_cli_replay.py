"""Check `rdv replay` from the command line: its output, what it writes, what stays the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from made_log import MadeLog, make_requests

from rdv.__main__ import main
from rdv.analysis.replay.rows import COLUMNS
from rdv.models import open_model
from rdv.rendezvous.messages import encode_request

COUNT = 300
MODEL = """
version = "7"

def predict(rows):
    if any(row["n"] == 100 for row in rows):
        raise ValueError("no such luck")
    return [{"score": r["n"] / 1000, "action": "pass" if r["n"] % 3 else "block"} for r in rows]
"""


@pytest.fixture
def run(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def fraud(tmp_path):
    directory = tmp_path / "fraud"
    (directory / "models").mkdir(parents=True)
    (directory / "rdv.toml").write_text('[models.gbm]\npath = "models/new.py"\nbatch_max = 10\n')
    (directory / "models" / "new.py").write_text(MODEL)
    MadeLog(make_requests(COUNT)).write(directory)
    return directory


def tree(directory):
    """Return every file with its size."""
    return {
        os.path.join(at, name): os.path.getsize(os.path.join(at, name))
        for at, _, names in os.walk(directory)
        for name in names
        if not name.endswith(".pyc")
    }


def test_replay(run, fraud, tmp_path):
    before = tree(fraud)
    out = tmp_path / "new.parquet"
    code, text, err = run("replay", fraud, "--model", "models/new.py", "-o", out)
    assert code == 0
    assert re.search(r"new, version 7\S*: 300 requests", text)
    assert "against the recorded answers" in text
    assert "1 × ValueError: no such luck" in err
    assert tree(fraud) == before
    table = pq.read_table(out)
    assert table.column_names == [column.name for column in COLUMNS]
    rows = table.to_pylist()
    assert len(rows) == COUNT
    for number, row in enumerate(rows):
        if number == 100:
            assert row["error"] == "ValueError: no such luck"
            assert row["result"] is row["score"] is row["label"] is None
        else:
            assert json.loads(row["result"]) == {"score": row["score"], "action": row["label"]}
            assert row["score"] == number / 1000
        assert row["batch_size"] == (64 if number < 256 else 44)
        assert row["version"].startswith("7@")


def test_as_json_and_with_the_settings_of_a_model(run, fraud):
    code, text, _ = run("replay", fraud, "--name", "gbm", "--json", "--since", "2023-01-01")
    assert code == 0
    found = json.loads(text)
    assert (found["model"], found["requests"], found["errors"]) == ("gbm", COUNT, 1)
    against = {one["against"]: one for one in found["comparison"]["against"]}
    assert set(against) == {"answers given", "gbm", "logit", "rules"}
    assert against["gbm"]["agreement"]["kappa"]["estimate"] == 1
    assert found["pace"] is None


def test_replay_at_a_pace(run, fraud):
    code, text, _ = run("replay", fraud, "--model", "models/new.py", "--speed", "10", "--json")
    assert code == 0
    pace = json.loads(text)["pace"]
    parts = ("in_time", "late", "failed", "behind", "expired")
    assert sum(pace[part] for part in parts) == COUNT
    assert pace["span_s"] == pytest.approx(0.0598)
    code, text, _ = run("replay", fraud, "--model", "models/new.py", "--speed", "1")
    assert "at 1 × the recorded pace" in text
    assert "in time for the deadline" in text


def test_replay_from_an_archive(run, fraud):
    decoy = open_model(str(fraud), "archive", builtin="decoy")
    decoy.predict([encode_request(made.message()) for made in make_requests(50)])
    code, text, _ = run("replay", fraud, "--model", "models/new.py", "--decoy", "archive", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["requests"] == found["comparison"]["requests"] == 50
    assert run("replay", fraud, "--model", "models/new.py", "--decoy", "nobody")[0] == 3


def test_replay_with_a_command(run, fraud):
    (fraud / "models" / "five.py").write_text(
        "import json, sys\nfor line in sys.stdin:\n"
        "    asked = json.loads(line)['id']\n"
        "    print(json.dumps({'id': asked, 'result': {'score': 5.0}}), flush=True)\n"
    )
    command = [sys.executable, "models/five.py"]
    code, text, _ = run("replay", fraud, "--name", "five", "--json", "--", *command)
    assert code == 0
    found = json.loads(text)
    assert (found["results"], found["errors"]) == (COUNT, 0)
    assert found["comparison"]["against"][0]["requests"] == COUNT


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "a model is needed"),
        (("--model", "nowhere.py"), 3, "there is no file"),
        (("--name", "nobody"), 3, "nobody"),
        (("--model", "models/new.py", "--speed", "0"), 2, "above 0"),
        (("--model", "models/new.py", "--since", "2030-01-01"), 3, "no recorded requests"),
        (("--model", "models/new.py", "-o", "nowhere/x.parquet"), 3, "nowhere"),
        (("--model", "models/bad.py"), 3, "cannot be loaded: ValueError: broken"),
    ],
)
def test_wrong_arguments_are_named(run, fraud, arguments, code, said):
    (fraud / "models" / "bad.py").write_text("raise ValueError('broken')")
    found, out, err = run("replay", fraud, *arguments)
    assert (found, out) == (code, "")
    assert said in err


def test_a_model_that_keeps_ending_leaves_no_file(run, fraud, tmp_path):
    (fraud / "models" / "bad.py").write_text("import os\ndef predict(rows):\n    os._exit(3)\n")
    settings = fraud / "rdv.toml"
    settings.write_text('[models.bad]\npath = "models/bad.py"\nbatch_max = 1\n')
    before = sorted(os.listdir(tmp_path))
    code, out, err = run("replay", fraud, "--name", "bad", "-o", tmp_path / "x.parquet")
    assert (code, out) == (1, "")
    assert "given up after it had ended 10 times" in err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_model_gets_the_variables_that_rdv_toml_names(run, fraud, monkeypatch):
    for name in ("FOR_ALL", "FOR_ONE", "FOR_NONE"):
        monkeypatch.setenv(name, "x")
    (fraud / "models" / "env.py").write_text(
        "import os\ndef predict(rows):\n"
        "    found = sorted(name for name in os.environ if name.startswith('FOR_'))\n"
        "    return [{'score': 0.5, 'action': ','.join(found)} for _ in rows]\n"
    )
    text = 'env = ["FOR_ALL"]\n[models.env]\npath = "models/env.py"\nenv = ["FOR_ONE"]\n'
    (fraud / "rdv.toml").write_text(text)
    out = fraud.parent / "env.parquet"
    assert run("replay", fraud, "--name", "env", "-o", out)[0] == 0
    assert {row["label"] for row in pq.read_table(out).to_pylist()} == {"FOR_ALL,FOR_ONE"}


def test_help_is_quick():
    code = (
        "import sys; from rdv.__main__ import main; main(['replay', '--help']); "
        "main(['outcome', '--help']); sys.exit(bool({'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
