"""Check `rdv export` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from made_log import MadeLog, make_requests

from rdv.__main__ import main


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
    directory.mkdir()
    (directory / "rdv.toml").write_text("")
    MadeLog(make_requests(100)).write(directory)
    return directory


def test_export(run, fraud, tmp_path):
    code, out, err = run("export", fraud, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "2023-11-14" in out
    code, out, _ = run("export", fraud, "-o", tmp_path / "out", "--json", "--tables", "input")
    (table,) = json.loads(out)["tables"]
    assert (table["table"], table["rows"], table["files"]) == ("input", 100, 1)


def test_refusals(run, fraud, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    code, _, err = run("export", fraud, "-o", tmp_path / "out")
    assert code == 3
    assert "contains something else: mine" in err
    assert run("export", fraud, "-o", tmp_path / "out", "--force")[0] == 0
    assert run("export", fraud)[0] == 2
    assert run("export", fraud, "-o", tmp_path / "x", "--tables", "")[0] == 2
    code, _, err = run("export", fraud, "-o", tmp_path / "x", "--tables", "scorse")
    assert code == 3
    assert "there is no table 'scorse'" in err


def test_damage_ends_with_1(run, fraud, tmp_path):
    (values,) = (fraud / "input" / "p-1" / "0").glob("*.jsonl")
    data = bytearray(values.read_bytes())
    data[3] ^= 0xFF
    values.write_bytes(data)
    code, out, err = run("export", fraud, "-o", tmp_path / "out")
    assert code == 1
    assert "INPUT" not in out
    assert "damaged" in err
    assert (tmp_path / "out" / "scores").is_dir()


def test_help_names_every_column_and_is_quick():
    code = (
        "import sys; from rdv.__main__ import main; main(['export', '--help']); "
        "sys.exit(bool({'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    for word in ("deadline_ms", "outcome_score", "is_exact", "queue_ms", "day=2026-11-22"):
        assert word in done.stdout
