"""Check `rdv model add` and `rdv model inspect`: a model is loaded once before it is declared."""

from __future__ import annotations

import tomllib
from pathlib import Path

import psutil
import pytest

from rdv.decision import load_decision

SLEEP = ["sleep", "98765"]

COLUMNS = """
columns = {"amount": "number", "country": {"type": "string", "values": ["de", "fr"]}}
def predict(rows):
    return [{"score": row["amount"], "in": row["country"]} for row in rows]
"""


@pytest.fixture
def empty(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rdv("init", "fraud", "--template", "blank").code == 0
    return Path("fraud")


def write(folder: Path, name: str, text: str) -> str:
    path = folder / "models" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return f"models/{name}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nosuchlibrary", "No module named 'nosuchlibrary'"),
        ("def predict(rows) return rows", "SyntaxError"),
        ("x = 1", "it has no function predict(rows)"),
        ("def predict(rows): ...\ndef load(): raise ValueError('no weights')", "no weights"),
        ("import os\nos._exit(7)", "exit code 7"),
        ("import os\nos.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_its_own_words(rdv, empty, text, words):
    path = write(empty, "m.py", text)
    before = (empty / "rdv.toml").read_bytes()
    refused = rdv("model", "add", "fraud", "m", "--path", path)
    assert (refused.code, refused.out) == (3, "")
    assert words in refused.err
    assert (empty / "rdv.toml").read_bytes() == before


def test_without_the_check_it_is_added_all_the_same(rdv, empty):
    path = write(empty, "m.py", "import nosuchlibrary")
    assert rdv("model", "add", "fraud", "m", "--path", path, "--no-check").code == 0
    assert load_decision("fraud").models["m"].path == path


def test_a_command_that_ends_at_once_is_refused(rdv, empty):
    refused = rdv("model", "add", "fraud", "m", "--", "false")
    assert (refused.code, "exit code 1" in refused.err) == (3, True)
    assert "m" not in load_decision("fraud").models


def test_the_facts_of_a_model_with_columns(rdv, empty):
    path = write(empty, "m.py", COLUMNS)
    (added,) = rdv("model", "add", "fraud", "m", "--path", path, "--json").rows()
    check = added["check"]
    assert (check["kind"], check["rows"], check["failed"]) == ("Python file", "made", "")
    assert [column["name"] for column in check["columns"]] == ["amount", "country"]
    assert check["row_ms"] > 0
    assert check["rows_100_ms"] > 0
    shown = rdv("model", "inspect", "fraud", "m")
    assert "amount number, country string" in shown.out
    assert "100 rows" in shown.out


def test_a_model_without_columns_says_that_nothing_is_known(rdv, empty):
    path = write(empty, "m.py", "def predict(rows): return [1 for _ in rows]")
    added = rdv("model", "add", "fraud", "m", "--path", path)
    assert "nothing is known about its columns" in added.err
    refused = rdv("model", "inspect", "fraud", "m", "--schema")
    assert (refused.code, refused.out) == (3, "")


def test_the_schema_of_a_model_can_be_appended_to_rdv_toml(rdv, empty):
    path = write(empty, "m.py", COLUMNS)
    shown = rdv("model", "inspect", "fraud", path, "--schema")
    columns = tomllib.loads(shown.out)["schema"]["columns"]
    assert columns["amount"] == {"type": "number"}
    assert columns["country"] == {"type": "string", "values": ["de", "fr"]}


def test_a_model_that_eats_memory_is_ended_and_refused(rdv, empty, monkeypatch):
    monkeypatch.setattr("rdv.analysis.model_facts.free_bytes", lambda: 300_000_000)
    path = write(empty, "m.py", "x = b'1' * 2_000_000_000\ndef predict(rows): return rows")
    refused = rdv("model", "add", "fraud", "m", "--path", path)
    assert (refused.code, "MemoryError" in refused.err) == (3, True)


def test_a_model_that_hangs_while_it_is_loaded_is_ended_with_all_that_it_started(rdv, empty):
    text = "import subprocess, time\nsubprocess.Popen(['sleep', '98765'])\ntime.sleep(3600)"
    path = write(empty, "m.py", text)
    with (empty / "rdv.toml").open("a") as file:
        file.write(f'[models.m]\npath = "{path}"\nstart_timeout_ms = 1500\n')
    refused = rdv("model", "inspect", "fraud", "m")
    assert (refused.code, "not ready within 1500 ms" in refused.err) == (3, True)
    left = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == SLEEP]
    assert not left


def test_a_row_that_fails_does_not_keep_a_model_out(rdv, empty):
    text = "columns = ['a']\ndef predict(rows): raise ValueError('not today')"
    added = rdv("model", "add", "fraud", "m", "--path", write(empty, "m.py", text))
    assert (added.code, "not today" in added.err) == (0, True)
    assert "m" in load_decision("fraud").models
