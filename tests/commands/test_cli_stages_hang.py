"""Check a model that hangs in a smaller stage: no request waits for it; it may come back."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

import orjson
import pytest
from cli_kit import Served

MODEL = """
import os, time
HERE = os.path.dirname(os.path.abspath(__file__))
def predict(rows):
    if any(row.get("hang") for row in rows):
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.02)
    return [{"by": "m"} for _ in rows]
"""
SCHEDULE = """
sla_ms = 20000
default = "default"
[[step]]
accept = ["m"]
"""


@pytest.fixture
def hanging(decision: Path) -> Path:
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    model = '\n[models.m]\npath = "models/m.py"\npredict_timeout_ms = 500\n'
    (decision / "rdv.toml").write_text(text + model)
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    (decision / "models/m.py").write_text(MODEL)
    return decision


class Asker:
    def __init__(self, decision: Path) -> None:
        port = int(re.search(r"(?m)^port = (\d+)", (decision / "rdv.toml").read_text())[1])
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, data: object) -> dict:
        body = orjson.dumps({"data": data})
        self._connection.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
        return orjson.loads(self._connection.getresponse().read())

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def is_ready(self) -> bool:
        self._connection.request("GET", "/readyz")
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200


@pytest.mark.parametrize(
    "stage", [("--in-process",), ("--direct", "m")], ids=["in-process", "direct"]
)
def test_a_model_that_hangs_is_down_and_comes_back(hanging, start, stage):
    served = Served(start("serve", hanging, *stage))
    served.until("listening on")
    with Asker(hanging) as asker:
        hang_and_come_back(hanging, served, asker)
    assert served.end() == 0


def hang_and_come_back(hanging, served, asker):
    assert asker.ask({})["model"] == "m"
    assert asker.is_ready()
    hung = asker.ask({"hang": True})
    assert (hung["kind"], hung["result"]) == ("default", "default")
    assert hung["waited_ms"] < 15_000, "it was waited for until the SLA"
    served.until("m hangs")
    while asker.is_ready():
        pass
    during = [asker.ask({}) for _ in range(5)]
    assert {answer["kind"] for answer in during} == {"default"}
    assert max(answer["waited_ms"] for answer in during) < 15_000
    assert {answer["code"] for answer in during} <= {"champion_down", "no_model_left"}
    (hanging / "models" / "go").touch()
    while not asker.is_ready():
        pass
    while asker.ask({})["model"] != "m":
        pass


@pytest.mark.parametrize(
    "stage", [("--in-process",), ("--direct", "m")], ids=["in-process", "direct"]
)
def test_settings_that_a_smaller_stage_ignores_are_named(hanging, start, stage):
    settings = hanging / "rdv.toml"
    text = settings.read_text().replace("[models.m]", "[models.m]\ninstances = 2")
    text = text.replace("\n[log]\n", '\n[log]\nfsync = "always"\n')
    settings.write_text(f"partitions = 4\n{text}")
    served = Served(start("serve", hanging, *stage))
    found = served.until("not used with --direct and --in-process")
    assert "partitions, log.fsync, models.m.instances" in found.string
    served.until("listening on")
    assert served.end() == 0
