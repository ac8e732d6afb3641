"""init, schedule and model on a decision that nobody serves."""

from __future__ import annotations

from pathlib import Path

PRODUCTION = Path("fraud/schedules/production.toml")


def test_init_says_what_it_made_and_what_next(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = rdv("init", "payments")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith("made payments: card payments")
    assert "mlp    champion" in made.out
    assert "rdv serve payments" in made.out
    again = rdv("init", "payments")
    assert (again.code, "is not empty" in again.err) == (3, True)
    assert rdv("init", "x", "--template", "nope").code == 3


def test_schedules_are_listed_and_drawn(rdv, decision):
    rows = {row["schedule"]: row for row in rdv("schedule", "ls", "fraud", "--json").rows()}
    assert rows["production"]["used"] == "live"
    assert rows["fast-first"]["steps"] == [["mlp"], ["*"]]
    shown = rdv("schedule", "show", "fraud")
    assert (shown.code, shown.err) == (0, "")
    assert "any other (*)" in shown.out
    assert rdv("schedule", "show", "fraud", "ab", "--json").row()["name"] == "ab"
    assert rdv("schedule", "show", "fraud", "nope").code == 3


def test_check_has_an_exit_code_for_everything(rdv, decision):
    assert rdv("schedule", "check", "fraud", "production").out == "production: fine\n"
    warned = rdv("schedule", "check", "fraud")
    assert (warned.code, "champion-only: warning" in warned.out) == (0, True)
    PRODUCTION.write_text(PRODUCTION.read_text().replace('"mlp"', '"mpl"'))
    wrong = rdv("schedule", "check", "fraud", "production", "--json")
    assert (wrong.code, wrong.rows()[0]["code"]) == (1, "model-unknown")
    PRODUCTION.write_text("sla_ms = \n")
    broken = rdv("schedule", "check", "fraud")
    assert broken.code == 3
    assert "not TOML" in broken.out
    listed = rdv("schedule", "ls", "fraud", "--json").rows()
    assert [row["schedule"] for row in listed if "fault" in row] == ["production"]


def test_use_edits_one_line_and_refuses_mistakes(rdv, decision):
    before = Path("fraud/rdv.toml").read_text().splitlines()
    used = rdv("schedule", "use", "fraud", "fast-first")
    assert used.out.startswith("live: fast-first@")
    after = Path("fraud/rdv.toml").read_text().splitlines()
    assert len(set(after) - set(before)) == 1
    bad = Path("fraud/schedules/bad.toml")
    bad.write_text("sla_ms = 50\n[[step]]\naccept = ['nobody']\n")
    refused = rdv("schedule", "use", "fraud", "bad")
    assert (refused.code, "--force" in refused.err) == (3, True)
    assert rdv("schedule", "use", "fraud", "bad", "--force").code == 0
    assert rdv("schedule", "use", "fraud", "nope").code == 3


def test_models_are_added_listed_and_removed(rdv, decision):
    Path("fraud/models/new.py").write_text("def predict(rows): return rows\n")
    added = rdv("model", "add", "fraud", "new", "--path", "models/new.py", "--instances", 2)
    assert added.out == "added new: it starts with the next rdv serve\n"
    assert rdv("model", "add", "fraud", "archive", "--builtin", "decoy").code == 0
    assert rdv("model", "add", "fraud", "lim", "--", "bash", "fraud/models/limit.sh").code == 0
    rows = {row["model"]: row for row in rdv("model", "ls", "fraud", "--json").rows()}
    assert rows["new"]["code"] == "models/new.py"
    assert rows["lim"]["code"] == "bash models/limit.sh"
    assert rows["archive"]["code"] == "decoy"
    assert rows["mlp"]["state"] == "not running"
    assert rdv("model", "add", "fraud", "new", "--path", "models/new.py").code == 3
    assert rdv("model", "add", "fraud", "other", "--path", "nowhere.py").code == 3
    assert rdv("model", "add", "fraud", "other").code == 3
    removed = rdv("model", "rm", "fraud", "mlp")
    assert (removed.out, "still waits for it" in removed.err) == ("removed mlp\n", True)
    assert rdv("model", "rm", "fraud", "mlp").code == 3
    assert rdv("model", "run", "fraud", "mlp").code == 3
    assert rdv("model", "run", "fraud", "a/b", "--path", "models/new.py").code == 3


def test_mistakes_on_the_command_line(rdv, decision):
    for arguments in (
        ("ask", "fraud", "{"),
        ("ask", "fraud", "1", "--deadline", "soon"),
        ("load", "fraud", "--rate", "many"),
        ("load", "fraud", "--rate", "0"),
        ("load", "fraud", "--duration", "0"),
        ("load", "fraud", "--fail-if", "p42>1ms"),
        ("load", "fraud", "--data", "nowhere.jsonl"),
        ("load", "fraud", "--connections", "0"),
        ("status", "fraud"),
        ("status", "nowhere"),
        ("model", "run", "fraud", "mlp", "--instances", "0"),
    ):
        outcome = rdv(*arguments)
        assert (outcome.code in (1, 3), outcome.out) == (True, ""), arguments
        assert outcome.err.startswith("error: "), arguments
