"""Check `rdv promote` over made-up logs: verdicts, exit codes, what is written."""

from __future__ import annotations

import json

import pytest
from compare_kit import record_outcomes, scored
from test_cli_evaluation import PRODUCTION, run  # noqa: F401

TABLES = "".join(f'[models.{m}]\npath = "models/{m}.py"\n' for m in ("gbm", "logit", "rules"))
LIVE = "# ours, by hand\n" + PRODUCTION


def good(number, chance):
    truth = chance.choice(["a", "b"])
    other = "b" if truth == "a" else "a"
    gbm, logit = (truth if chance.random() < share else other for share in (0.8, 0.95))
    return {"label": gbm}, {"label": logit}, {"label": truth}


def made(tmp_path, answers=good, count=1200):
    directory = tmp_path / "fraud"
    (directory / "schedules").mkdir(parents=True)
    (directory / "models").mkdir()
    (directory / "rdv.toml").write_text(TABLES)
    (directory / "schedules" / "production.toml").write_text(LIVE)
    log = scored(count, answers)
    log.write(directory)
    # The true outcome is the answer of `rules`.
    record_outcomes(
        directory,
        [
            (one.number, json.loads(bytes(one.reports[2][1].result))["label"])
            for one in log.requests
        ],
    )
    return directory


def live(directory):
    return (directory / "schedules" / "production.toml").read_text()


def test_a_pass_changes_nothing_without_yes(run, tmp_path):  # noqa: F811
    fraud = made(tmp_path)
    page = tmp_path / "report.html"
    code, out, err = run("promote", fraud, "logit", "--html", page)
    assert code == 0, err
    assert "verdict: pass" in out
    assert '-accept = ["gbm"]' in out
    assert '+accept = ["logit"]' in out
    assert "nothing is changed; to make it live: --yes" in err
    assert live(fraud) == LIVE
    assert "Verdict of the gate: pass" in page.read_text()


def test_a_pass_with_yes_is_live_and_the_way_back_is_the_same(run, tmp_path):  # noqa: F811
    fraud = made(tmp_path)
    code, out, err = run("promote", fraud, "logit", "--yes")
    assert code == 0, err
    assert "live at the next start: production@" in out
    assert live(fraud) == LIVE.replace('"gbm"]', '"L"]', 1).replace(
        '["gbm", "logit"]', '["logit", "gbm"]'
    ).replace('"L"', '"logit"')
    code, _, err = run("promote", fraud, "gbm", "--yes")
    assert code == 99
    assert "quality (fail)" in err
    assert run("promote", fraud, "gbm", "--yes", "--force")[0] == 0
    assert live(fraud) == LIVE


def test_json(run, tmp_path):  # noqa: F811
    fraud = made(tmp_path)
    code, out, _ = run("promote", fraud, "logit", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["verdict"], found["promoted"]) == ("pass", False)
    assert (found["champion"], found["challenger"]) == ("gbm", "logit")
    assert found["checks"][0]["name"] == "requests"
    assert found["schedule"] != found["was"]
    code, out, _ = run("promote", fraud, "logit", "--min-requests", 5000, "--json")
    assert code == 99
    found = json.loads(out)
    assert (found["verdict"], found["promoted"]) == ("fail", False)
    assert found["checks"][0] == {
        "name": "requests",
        "verdict": "fail",
        "figure": 1200,
        "threshold": 5000,
        "text": "1,200 scored by both, at least 5,000; "
        "only the newest versions count: logit 1, gbm 1",
        "is_judged": False,
    }
    code, out, _ = run("promote", fraud, "logit", "--json", "--yes")
    assert json.loads(out)["promoted"] is True


def test_a_marginal_verdict_needs_accept_marginal(run, tmp_path):  # noqa: F811
    def answers(number, chance):
        said = good(number, chance)
        return said[0], None if number in (7, 77) else said[1], said[2]

    fraud = made(tmp_path, answers)
    code, out, err = run("promote", fraud, "logit", "--yes")
    assert code == 99
    assert "verdict: marginal" in out
    assert "errors (marginal)" in err
    assert live(fraud) == LIVE
    assert run("promote", fraud, "logit", "--yes", "--accept", "marginal")[0] == 0
    assert live(fraud) != LIVE


def test_limits_are_settings(run, tmp_path):  # noqa: F811
    fraud = made(tmp_path)
    (fraud / "rdv.toml").write_text(TABLES + "[gate]\nrequests_min = 1201\n")
    assert run("promote", fraud, "logit", "--yes")[0] == 99
    assert run("promote", fraud, "logit", "--min-requests", 1200)[0] == 0
    (fraud / "rdv.toml").write_text(TABLES + "[gate]\nloss_max = 2.0\n")
    assert run("promote", fraud, "logit")[0] == 3


def test_what_cannot_be_promoted(run, tmp_path):  # noqa: F811
    fraud = made(tmp_path, count=50)
    code, _, err = run("promote", fraud, "gbm")
    assert code == 3
    assert "is the champion of production@" in err
    code, _, err = run("promote", fraud, "nobody")
    assert code == 3
    assert "has no model 'nobody'" in err
    assert run("promote", fraud, "logit", "--over", "rules")[0] == 3
    assert run("promote", fraud, "logit", "--min-requests", 0)[0] == 2
    code, _, err = run("promote", fraud, "logit", "--watch", "1m")
    assert code == 3
    assert "nothing to watch" in err
    assert run("promote", fraud, "logit", "--accept", "anything")[0] == 2
    assert live(fraud) == LIVE


@pytest.mark.parametrize("old", ["rules", "logit"])
def test_over_names_the_model_to_replace(run, tmp_path, old):  # noqa: F811
    fraud = made(tmp_path, count=50)
    text = LIVE.replace('["gbm", "logit"]', '["gbm", "logit", "rules"]')
    (fraud / "schedules" / "production.toml").write_text(text)
    run("promote", fraud, "gbm", "--over", old, "--force", "--yes")
    assert f'accept = ["{old}"]' in live(fraud)
