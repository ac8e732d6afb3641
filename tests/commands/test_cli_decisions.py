"""Check init, schedule and model on a decision that is not served."""

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


def test_check_warns_where_requests_are_deleted_before_their_outcomes_count(rdv, decision):
    settings = Path("fraud/rdv.toml")
    text = settings.read_text()
    mature = '[outcome]\nmature_after_ms = 3888000000\nmature_as = "0"\n'
    settings.write_text(text.replace("[outcome]\n", mature))
    found = rdv("schedule", "check", "fraud", "production")
    assert found.code == 0
    assert "rdv.toml: warning: outcome.mature_after_ms: " in found.out
    assert "45 days" in found.out
    assert "7 days" in found.out


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
    assert added.out.startswith("added new: it starts with the next rdv serve\n")
    assert rdv("model", "add", "fraud", "archive", "--builtin", "decoy").code == 0
    assert rdv("model", "add", "fraud", "lim", "--", "bash", "fraud/models/limit.sh").code == 0
    rows = {row["model"]: row for row in rdv("model", "ls", "fraud", "--json").rows()}
    assert rows["new"]["code"] == "models/new.py"
    assert rows["lim"]["code"] == "bash models/limit.sh"
    assert rows["archive"]["code"] == "decoy"
    assert rows["mlp"]["state"] == "not running"
    assert rdv("model", "add", "fraud", "new", "--path", "models/new.py").code == 3
    missing = rdv("model", "add", "fraud", "other", "--path", "nowhere.py")
    assert missing.code == 3
    for place in ("nowhere.py", "fraud/nowhere.py"):
        assert str(Path(place).absolute()) in missing.err
    assert rdv("model", "add", "fraud", "other").code == 2
    for name in ("bad name", "a/b", "", "x" * 300):
        named = rdv("model", "add", "fraud", name, "--path", "models/new.py")
        assert (named.code, "cannot be the name of a model" in named.err) == (3, True)
        assert "start with a letter" in named.err
    removed = rdv("model", "rm", "fraud", "mlp")
    assert (removed.out, "still waits for it" in removed.err) == ("removed mlp\n", True)
    assert rdv("model", "rm", "fraud", "mlp").code == 3
    assert rdv("model", "run", "fraud", "mlp").code == 3
    assert rdv("model", "run", "fraud", "a/b", "--path", "models/new.py").code == 3


def test_a_program_that_is_not_there_is_named_at_once(rdv, decision):
    inside = Path("fraud/limit.sh")
    inside.write_text("#!/bin/sh\ncat\n")
    for verb in ("add", "run"):
        done = rdv("model", verb, "fraud", "x", "--", "nosuchprogram", "--fast")
        assert (done.code, done.out) == (3, "")
        assert "there is no program 'nosuchprogram'" in done.err
        plain = rdv("model", verb, "fraud", "x", "--", "./limit.sh")
        assert (plain.code, "chmod +x" in plain.err) == (3, True)
        bare = rdv("model", verb, "fraud", "x", "--", "limit.sh")
        assert (bare.code, "./limit.sh" in bare.err) == (3, True)
    assert "[models.x]" not in Path("fraud/rdv.toml").read_text()
    inside.chmod(0o755)
    assert rdv("model", "add", "fraud", "x", "--", "./limit.sh").code == 0


def test_serve_warns_of_a_declared_program_that_is_not_there(decision):
    from rdv.decision import load_decision
    from rdv.serve.supervisor.check import check

    settings = Path("fraud/rdv.toml")
    settings.write_text(settings.read_text() + '\n[models.x]\ncommand = ["nosuchprogram"]\n')
    shown = []
    check(load_decision("fraud"), lambda text, code, about: shown.append(text))
    assert [
        line for line in shown if "models.x.command: there is no program 'nosuchprogram'" in line
    ]


def test_wrong_usage_and_invalid_configuration_have_different_exit_codes(rdv, decision):
    for code, *arguments in (
        (3, "ask", "fraud", "{"),
        (2, "ask", "fraud", "1", "--deadline", "soon"),
        (2, "load", "fraud", "--rate", "many"),
        (2, "load", "fraud", "--rate", "0"),
        (2, "load", "fraud", "--rate", "-1"),
        (2, "load", "fraud", "--rate", "nan"),
        (2, "load", "fraud", "--duration", "0"),
        (2, "load", "fraud", "--duration", "long"),
        (2, "load", "fraud", "--fail-if", "p42>1ms"),
        (3, "load", "fraud", "--data", "nowhere.jsonl"),
        (2, "load", "fraud", "--connections", "0"),
        (3, "status", "fraud"),
        (3, "status", "nowhere"),
        (2, "model", "run", "fraud", "mlp", "--instances", "0"),
    ):
        outcome = rdv(*arguments)
        assert (outcome.code, outcome.out) == (code, ""), arguments
        assert outcome.err.startswith("error: "), arguments
    assert "0 is not a rate: it must be more than 0" in rdv("load", "fraud", "--rate", "0").err


def test_where_no_decision_is_one_is_offered(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("used").mkdir()
    Path("used/file").touch()
    for directory in ("empty", "new"):
        refused = rdv("serve", directory)
        assert (refused.code, f"Make one: rdv init {directory}\n" in refused.err) == (3, True)
    refused = rdv("serve", "used")
    assert (refused.code, "in a new directory: rdv init NEW" in refused.err) == (3, True)
