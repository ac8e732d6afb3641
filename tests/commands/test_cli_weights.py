"""Check that a change of a served model's weights alone is a new version everywhere."""

from __future__ import annotations

import json

import pytest

from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

# The weights lie elsewhere in the decision than beside the model, and no code names their file.
MODEL = """
import json, os
version = "v1"
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
def load():
    global weight
    with open(os.path.join(HERE, "weights", "m" + ".json")) as file:
        weight = json.load(file)
def predict(rows):
    return [{"label": int((row["x"] > 0) ^ (weight < 0))} for row in rows]
"""
CHAMPION = "def predict(rows):\n    return [{'label': int(row['x'] > 0)} for row in rows]\n"
SETTINGS = """
[models.m]
path = "models/m.py"
[models.champion]
path = "models/champion.py"
"""
SCHEDULE = """
sla_ms = 20000
default = { label = 0 }
[[step]]
until_ms = 15000
accept = ["champion"]
[[step]]
accept = ["*"]
"""


@pytest.fixture
def fraud(decision):
    text = (decision / "rdv.toml").read_text()
    (decision / "rdv.toml").write_text(text.partition("\n[models.")[0] + SETTINGS)
    for schedule in (decision / "schedules").glob("*.toml"):
        schedule.unlink()
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    (decision / "models/m.py").write_text(MODEL)
    (decision / "models/champion.py").write_text(CHAMPION)
    (decision / "weights").mkdir()
    (decision / "weights/m.json").write_text("1")
    return decision


def ask(rdv, count):
    for number in range(count):
        assert rdv("ask", "fraud", json.dumps({"x": number % 2 - 0.5})).code == 0


def records_of(path, topic):
    with open_stream(str(path)) as stream, stream.consumer([topic]) as reader:
        found = []
        while records := reader.poll(10_000):
            found += [json.loads(record.value) for record in records]
        return found


def version_of(rdv, wanted=lambda row: row["version"]):
    while True:
        rows = {row["model"]: row for row in rdv("status", "fraud", "--json").row()["models"]}
        if rows["m"]["state"] == "ready" and wanted(rows["m"]):
            return rows["m"]["version"]


def test_only_the_weights_change_and_everything_says_so(rdv, serve, fraud):
    served = serve()
    first = version_of(rdv)
    assert first.startswith("v1@")
    ask(rdv, 5)
    (fraud / "weights/m.json").write_text("-1")
    served.until(r"m-0 has changed: its successor is being started")
    served.until(rf"m: version {first} → (v1@\w+)")
    second = version_of(rdv, lambda row: row["version"] != first and ", " not in row["version"])
    assert second.startswith("v1@")
    assert f"m: version {first} → {second}" in rdv("status", "fraud").out
    before = len(records_of(fraud / "scores", "m"))
    ask(rdv, 7)
    while len(found := records_of(fraud / "scores", "m")) < before + 7:
        pass
    assert {score["version"] for score in found[:before]} == {first}
    assert {score["version"] for score in found[before:]} == {second}
    (event,) = [
        one
        for one in records_of(fraud / "control", "events")
        if one["code"] == "model_version_changed"
    ]
    assert (event["about"], event["message"]) == ("m", f"m: version {first} → {second}")
    # The gate takes only the results of the new weights for the model.
    report = rdv("promote", "fraud", "m", "--json").row()
    (requests,) = [check for check in report["checks"] if check["name"] == "requests"]
    assert requests["figure"] == 7
    assert f"{before} earlier results of other versions" in requests["text"]
    assert served.end() == 0


def test_weights_that_change_while_nothing_runs_are_a_new_version_at_the_next_start(
    rdv, serve, fraud
):
    served = serve()
    first = version_of(rdv)
    assert served.end() == 0
    (fraud / "weights/m.json").write_text("-1")
    served = serve(wait=False)
    served.until(rf"m: version {first} → v1@\w+")
    served.up()
    assert served.end() == 0
