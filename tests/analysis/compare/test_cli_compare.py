"""Check `rdv compare` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from compare_kit import scored
from test_cli_evaluation import PRODUCTION, run  # noqa: F401
from test_compare import steps


@pytest.fixture
def fraud(tmp_path):
    directory = tmp_path / "fraud"
    (directory / "schedules").mkdir(parents=True)
    (directory / "rdv.toml").write_text('[models.rules]\nbuiltin = "canary"\npath = "x.py"\n')
    (directory / "schedules" / "production.toml").write_text(PRODUCTION)
    scored(500, steps).write(directory)
    return directory


def test_compare(run, fraud, tmp_path):  # noqa: F811
    page, lines = tmp_path / "report.html", tmp_path / "label.jsonl"
    code, out, err = run(
        "compare", fraud, "gbm", "logit", "--html", page, "--disagreements", lines, "--count", 5
    )
    assert code == 0, err
    assert "gbm and logit have both scored 500 of 500 requests." in out
    assert "\x1b" not in out
    assert "WHAT" in out
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {row["data"]["n"] for row in rows} <= {3, 50, 123, 321, 444}
    assert set(rows[0]) == {"id", "key", "time_ns", "rank_distance", "data", "answers"}
    html = page.read_text()
    assert html.startswith("<!doctype html>")
    assert "<svg" in html
    assert "<script" not in html


def test_json(run, fraud):  # noqa: F811
    code, out, _ = run("compare", fraud, "gbm", "logit", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["canary"] == "rules"
    assert found["both"] == 500
    assert found["scores"]["correlation"]["estimate"] > 0.9
    assert found["first"]["outcomes"] == {"result": 500}
    assert {"sentences", "caveats", "drift", "rates", "quantile_pairs", "classes"} <= set(found)


def test_what_cannot_be_compared(run, fraud):  # noqa: F811
    assert run("compare", fraud, "gbm", "nobody")[0] == 3
    assert run("compare", fraud, "gbm", "gbm")[0] == 3
    assert run("compare", fraud, "gbm", "logit", "--count", 0)[0] == 2
    code, _, err = run("compare", fraud, "gbm", "logit", "--canary", "nobody")
    assert code == 3
    assert "There are scores of gbm, logit, rules" in err
    assert run("compare", fraud / "nowhere", "gbm", "logit")[0] == 3


@pytest.mark.parametrize("command", ["compare", "ab", "promote"])
def test_help_is_quick(command):
    code = (
        f"import sys; from rdv.__main__ import main; main([{command!r}, '--help']); "
        "sys.exit(bool({'numpy', 'pyarrow', 'plotext'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Examples:" in done.stdout
