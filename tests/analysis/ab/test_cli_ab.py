"""Check `rdv ab` from the command line."""

from __future__ import annotations

import json

import pytest
from ab_kit import experiment
from test_cli_evaluation import PRODUCTION, run  # noqa: F401

COHORTS = '[cohorts.fast]\nshare = 0.5\nschedule = "fast"\n'
FAST_TOML = 'sla_ms = 25\ndefault = {action = "review"}\n[[step]]\naccept = ["rules", "logit"]\n'


@pytest.fixture
def fraud(tmp_path):
    directory = tmp_path / "fraud"
    (directory / "schedules").mkdir(parents=True)
    (directory / "rdv.toml").write_text(COHORTS)
    (directory / "schedules" / "production.toml").write_text(PRODUCTION)
    (directory / "schedules" / "fast.toml").write_text(FAST_TOML)
    return experiment(directory, 1000)


def test_ab(run, fraud, tmp_path):  # noqa: F811
    page = tmp_path / "report.html"
    code, out, err = run("ab", fraud, "--html", page)
    assert code == 0, err
    assert "COHORT" in out
    assert "The split is as planned" in out
    assert "By pairs" in out
    assert "<svg" in page.read_text()
    code, out, _ = run("ab", fraud, "--json", "--confidence", "99%")
    found = json.loads(out)
    assert code == 0
    assert [arm["name"] for arm in found["arms"]] == ["rest", "fast"]
    assert found["comparisons"][0]["effect"]["difference"]["confidence"] == 0.99
    assert found["comparisons"][0]["outcomes_depend_on_answers"] is False
    assert found["sample_ratio"]["mismatch"] is False


def test_ab_fails_with_wrong_options_or_without_cohorts(run, fraud):  # noqa: F811
    assert run("ab", fraud, "--confidence", "2")[0] == 2
    assert run("ab", fraud, "--metric", "loss")[0] == 3
    (fraud / "rdv.toml").write_text("")
    code, _, err = run("ab", fraud)
    assert code == 3
    assert "no cohorts" in err
