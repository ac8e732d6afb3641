"""The quality that a decision promises is held against a bounded part of the log."""

from __future__ import annotations

import json

import pytest
from made_log import BEGIN_NS, MadeLog, make_requests
from test_regress import EAGER, rdv, tell, write_schedule

from rdv.analysis import promise
from rdv.analysis.promise import quality_promise
from rdv.decision import InvalidDecision, load_decision, parse_decision

DAY_NS = 86_400 * 10**9
NOW_NS = BEGIN_NS + DAY_NS


@pytest.fixture
def promised(tmp_path):
    log = MadeLog(make_requests(600))
    log.write(tmp_path)
    (tmp_path / "schedules").mkdir()
    write_schedule(tmp_path, "gbm")

    def write(quality_min, metric="accuracy"):
        text = f'[objective]\nquality_min = {quality_min}\nmetric = "{metric}"\n'
        (tmp_path / "rdv.toml").write_text(text)
        return load_decision(str(tmp_path), {})

    return tmp_path, log, write


def test_the_verdict_follows_the_interval(promised):
    directory, log, write = promised
    assert quality_promise(write(0.5), NOW_NS).verdict == "not known"
    tell(directory, log)
    found = quality_promise(write(0.5), NOW_NS)
    assert found.verdict == "held"
    assert (found.requests, found.known) == (600, 600)
    value = found.quality.value
    assert quality_promise(write(round(value, 3)), NOW_NS).verdict == "not sure"
    broken = quality_promise(write(0.999), NOW_NS)
    assert broken.verdict == "broken"
    assert "accuracy of at least 99.9 %" in broken.sentence()
    # The outcomes were told at the time of the first request.
    assert found.lag_ms == 0.0


def test_without_a_promise_nothing_is_read(promised):
    _, _, write = promised
    assert quality_promise(write('"none"'), NOW_NS) is None


def test_only_the_newest_requests_are_looked_at(promised, monkeypatch):
    directory, log, write = promised
    tell(directory, log)
    monkeypatch.setattr(promise, "REQUESTS_MAX", 100)
    assert quality_promise(write(0.5), NOW_NS).requests == 100


@pytest.mark.parametrize("wrong", ["nan", "inf", '"high"', "true"])
def test_a_wrong_promise_is_refused_by_name(wrong):
    with pytest.raises(InvalidDecision, match=r"objective\.quality_min"):
        parse_decision(f"[objective]\nquality_min = {wrong}\n", "x")


def test_regress_and_status_hold_it(promised):
    directory, log, write = promised
    tell(directory, log)
    span = ("--against", "2023-01-01T00:00:00Z")
    for least, first, code in ((0.5, "gbm", 0), (0.999, "gbm", 99), (0.9, "rules", 99)):
        write(least)
        write_schedule(directory, first)
        done = rdv("regress", directory, *span)
        assert done.returncode == code, done.stderr
        checks = [json.loads(line) for line in done.stdout.splitlines() if '"check"' in line[:9]]
        assert [one["check"]["name"] for one in checks] == ["promised quality"]
    assert EAGER.name == "production"
