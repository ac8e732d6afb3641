"""Check verify, explain, whatif and optimise from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from made_log import MadeLog, make_requests

from rdv.__main__ import main
from rdv.rendezvous.schedule import lint_schedule, schedule_from_toml

PRODUCTION = """
sla_ms = 50
default = { score = 0.0, action = "review" }
[[step]]
until_ms = 30
accept = ["gbm"]
[[step]]
until_ms = 45
accept = ["gbm", "logit"]
[[step]]
accept = ["*"]
"""


@pytest.fixture
def run(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TZ", "UTC")

    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def fraud(tmp_path):
    directory = tmp_path / "fraud"
    (directory / "schedules").mkdir(parents=True)
    (directory / "rdv.toml").write_text("")
    (directory / "schedules" / "production.toml").write_text(PRODUCTION)
    MadeLog(make_requests(400)).write(directory)
    return directory


def spoil(directory):
    """Change one letter of one answer; write the log again, so that its checksums are valid."""
    log = MadeLog(make_requests(400))
    records = log.decide()
    at = next(n for n, r in enumerate(records) if r[1] == "results" and b'"block"' in r[4])
    changed = (*records[at][:4], records[at][4].replace(b'"block"', b'"black"'))
    log.decide = lambda: [*records[:at], changed, *records[at + 1 :]]
    log.write(directory)
    return json.loads(changed[4])["id"]


def test_verify(run, fraud, tmp_path):
    code, out, _ = run("verify", fraud)
    assert code == 0
    assert "decisions, the same again" in out
    code, out, _ = run("verify", fraud, "--json")
    assert json.loads(out)["is_sound"] is True
    other = tmp_path / "other"
    other.mkdir()
    (other / "rdv.toml").write_text("")
    id_ = spoil(other)
    code, out, err = run("verify", other)
    assert code == 1
    assert f"{id_}: result is" in out
    assert "1 decision differs" in err
    code, out, _ = run("verify", other, "--json")
    assert code == 1
    assert json.loads(out)["differences"][0]["id"] == id_


def test_explain(run, fraud):
    code, out, _ = run("explain", fraud, "00002a")
    assert code == 0
    assert "STEP" in out
    assert "chosen" in out
    code, out, _ = run("explain", fraud, "00002a", "--json")
    assert json.loads(out)["id"].endswith("00002a")
    code, _, err = run("explain", fraud, "ffffff")
    assert code == 3
    assert "the log goes back to 2023-11-14" in err


def test_whatif(run, fraud, tmp_path):
    new = tmp_path / "new.toml"
    new.write_text(PRODUCTION.replace("30", "10"))
    code, out, err = run("whatif", fraud, "--schedule", new, "-o", tmp_path / "out.parquet")
    assert code == 0
    assert "wait, p99" in out
    assert "bounds" in err
    assert (tmp_path / "out.parquet").stat().st_size > 1_000
    code, out, _ = run("whatif", fraud, "--schedule", "production", "--json")
    assert json.loads(out)["changed_model"] == 0
    code, _, err = run("whatif", fraud, "--schedule", "nowhere.toml")
    assert code == 3
    assert "nowhere.toml" in err
    code, _, err = run("whatif", fraud, "--schedule", "production", "--since", "2030-01-01")
    assert code == 3
    assert "no recorded requests" in err


def test_optimise(run, fraud, tmp_path):
    path = fraud / "schedules" / "new.toml"
    code, out, err = run("optimise", fraud, "--p99", "40ms", "--tries", 200, "-o", path)
    assert code == 0, err
    assert "chosen" in out
    schedule = schedule_from_toml(path.read_text(), "new")
    assert not [f for f in lint_schedule(schedule) if f.severity == "error"]
    code, _, err = run("optimise", fraud, "-o", path)
    assert code == 2
    assert "the file exists already" in err
    code, out, _ = run("optimise", fraud, "--tries", 50, "--json")
    assert json.loads(out)["frontier"]
    assert run("optimise", fraud, "--outcomes")[0] == 3
    assert run("whatif", fraud, "--schedule", path)[0] == 0


def test_help_is_quick(fraud):
    """The list of commands and a command's help import neither numpy nor pyarrow."""
    code = (
        "import sys; from rdv.__main__ import main; main(['optimise', '--help']); "
        "main(['--help']); sys.exit(bool({'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )
