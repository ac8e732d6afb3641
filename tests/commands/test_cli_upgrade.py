"""Check that decisions of earlier versions (tests/data/VERSION) can be served and read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cli_kit import Served
from ports import free_port

from rdv.decision import load_decision

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.name for path in DATA.iterdir() if path.is_dir())
REQUESTS, OUTCOMES = 143, 49
GIVEN_UP = "gbm/0 has records that a repair has given up"

pytestmark = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def recorded(version, tmp_path, monkeypatch) -> list[dict]:
    """Copy the decision to the relative path `old`; return the answers that its clients got."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DATA / version / "decision", "old")
    settings = Path("old/rdv.toml")
    lines = settings.read_text().splitlines()
    port = next(line for line in lines if line.startswith("port = "))
    settings.write_text(settings.read_text().replace(port, f"port = {free_port()}"))
    answers = (DATA / version / "answers.jsonl").read_text().splitlines()
    assert len(answers) == REQUESTS
    return [json.loads(line) for line in answers]


def verified(rdv):
    outcome = rdv("verify", "old", "--json")
    assert outcome.code == 0, outcome.err
    return outcome.row()


def exported(rdv, table):
    assert rdv("export", "old", "-o", f"out-{table}").code == 0
    return pq.read_table(f"out-{table}/{table}").to_pylist()


def test_every_recorded_decision_is_taken_again(rdv, recorded):
    found = verified(rdv)
    assert (found["requests"], found["same"], found["differing"]) == (REQUESTS, REQUESTS - 1, 0)
    assert (found["notes"]["lost"], found["notes"]["malformed"]) == (1, {})
    assert [gap.split(":")[1] for gap in found["notes"]["gaps"]] == [GIVEN_UP]


def test_its_streams_are_sound(rdv, recorded):
    for stream in ("input", "scores", "results", "control", "outcomes"):
        outcome = rdv("stream", "verify", f"old/{stream}", "--json")
        assert (outcome.code, {row["state"] for row in outcome.rows()}) == (0, {"sound"})


def test_every_answer_is_exported(rdv, recorded):
    rows = {row["id"]: row for row in exported(rdv, "joined")}
    assert rows.keys() == {answer["id"] for answer in recorded}
    for answer in recorded:
        row = rows[answer["id"]]
        assert json.loads(row["result"]) == answer["result"]
        assert [row[name] for name in ("model", "version", "kind", "schedule", "cohort")] == [
            answer[name] for name in ("model", "version", "kind", "schedule", "cohort")
        ]
    assert len(exported(rdv, "outcomes")) == OUTCOMES


def test_every_answer_is_explained(rdv, recorded):
    for answer in (recorded[0], *recorded[-24:]):
        told = rdv("explain", "old", answer["id"], "--json")
        assert told.code == 0, told.err
        assert told.row()["result"]["result"] == answer["result"]


def test_it_is_served_and_goes_on(rdv, start, recorded):
    slow = "sla_ms = 60000\ndefault = 0\n[[step]]\naccept = ['gbm']\n"
    Path("old/schedules/slow.toml").write_text(slow)
    served = Served(start("serve", "old")).up()
    for amount in range(20):
        answer = rdv("ask", "old", json.dumps({"amount": amount}), "--schedule", "slow").row()
        assert answer["result"] == {"score": amount / 1000, "action": "review"}
    assert served.end() == 0
    found = verified(rdv)
    assert (found["requests"], found["differing"]) == (REQUESTS + 20, 0)
    rows = {row["id"] for row in exported(rdv, "joined")}
    assert len(rows) == REQUESTS + 20
    test_its_streams_are_sound(rdv, recorded)


def test_its_settings_are_read(version, tmp_path):
    for file in sorted((DATA / version / "templates").glob("*.toml")):
        place = tmp_path / file.stem
        place.mkdir()
        shutil.copy(file, place / "rdv.toml")
        assert load_decision(str(place)).models
