"""Check that errors suggest what to do; a missing file has exit code 3 in all commands."""

import os
from pathlib import Path

import pytest

from rdv.stream import open_stream


def test_a_decision_is_not_a_stream(rdv, decision):
    for command in (["tail"], ["stream", "info"], ["stream", "verify"], ["stream", "groups"]):
        refused = rdv(*command, "fraud")
        assert refused.code == 3
        assert "fraud is a decision, not a stream" in refused.err
        assert "rdv serve fraud" in refused.err
    with open_stream("fraud/results"):
        refused = rdv("tail", "fraud")
    assert "Name one of its streams: fraud/results" in refused.err
    assert rdv("tail", "fraud/results").code == 0


def test_a_decision_nearby_is_suggested(rdv, decision, monkeypatch):
    assert "Did you mean fraud?" in rdv("status", "fraud/models").err
    assert f"Did you mean {Path.cwd() / 'fraud'}?" in rdv("status", str(Path.cwd())).err
    monkeypatch.chdir("fraud/schedules")
    assert f"Did you mean {Path.cwd().parent}?" in rdv("schedule", "check", ".").err


def test_replay_blames_its_own_option(rdv, decision):
    refused = rdv("replay", "fraud", "--model", "none.py")
    assert (refused.code, "--model: there is no file" in refused.err) == (3, True)


def test_check_fails_where_there_is_no_schedule(rdv, decision):
    for path in Path("fraud/schedules").iterdir():
        if path.stem != "ab":
            path.unlink()
    refused = rdv("schedule", "check", "fraud")
    assert (refused.code, "no schedule 'production'; there are: ab" in refused.err) == (3, True)
    Path("fraud/schedules/ab.toml").unlink()
    refused = rdv("schedule", "check", "fraud")
    assert refused.code == 3
    assert "A schedule is a file: fraud/schedules/production.toml" in refused.err
    Path("fraud/schedules").rmdir()
    assert rdv("schedule", "check", "fraud").code == 3


MISSING = [
    "status none", "serve none", "verify none", "ab none", "export none -o out", "drill none",
    "schedule check none", "schedule check fraud none", "schedule show fraud none",
    "schedule use fraud none", "model ls none", "model add fraud x --path none.py",
    "model run fraud x --path none.py", "model add fraud x -- ./none",
    "ask fraud {} --schedule @none.toml", "load fraud --data none.jsonl",
    "load fraud --schedule @none.toml", "drill fraud --data none.jsonl",
    "outcome fraud --from none.csv", "whatif fraud --schedule none.toml",
    "whatif fraud --schedule ./none", "whatif fraud --schedule none",
    "whatif fraud --schedule ab -o none/x", "whatif fraud --schedule ab --html none/x.html",
    "optimise fraud -o none/new.toml", "optimise fraud --html none/x.html",
    "compare fraud mlp logit --html none/x.html", "ab fraud --html none/x.html",
    "compare fraud mlp logit --disagreements none/x", "promote fraud logit --html none/x.html",
    "replay fraud --model none.py", "replay fraud --name mlp -o none/x",
    "tail none", "stream info none", "stream append none:x", "stream bench none",
    "init shop --model a=none.py --default {}",
]  # fmt: skip


@pytest.mark.parametrize("line", MISSING)
def test_a_missing_file_is_exit_code_3_everywhere(rdv, decision, line):
    refused = rdv(*line.split())
    assert refused.code == 3, refused.err
    assert refused.err.startswith("error: ")
    assert "none" in refused.err


def test_a_pipe_is_a_file(rdv, decision):
    ours, theirs = os.pipe()
    os.write(theirs, b"")
    os.close(theirs)
    try:
        assert "there is no file" not in rdv("outcome", "fraud", "--from", f"/dev/fd/{ours}").err
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("promote fraud none", "fraud has no model 'none'; there are: logit, mlp, rules"),
        ("promote fraud Logitt", "Did you mean logit?"),
        ("promote fraud mlp --over logt", "Did you mean logit?"),
        ("model rm fraud rule", "Did you mean rules?"),
        ("schedule use fraud fast-frist", "Did you mean fast-first?"),
        ("schedule show fraud fast-frist", "Did you mean fast-first?"),
        ("whatif fraud --schedule fast-frist", "Did you mean fast-first?"),
    ],
)
def test_an_unknown_name_is_reported_with_the_nearest_known(rdv, decision, command, advice):
    refused = rdv(*command.split(), "--yes") if "promote" in command else rdv(*command.split())
    assert refused.code == 3
    assert advice in refused.err
    assert ".toml" not in refused.err
