"""Serve the ads template with real processes whose shards stop one after another."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

TIMES = 40
"""The factor for the schedule's times: the test is about which models answer, not about speed."""
ALL = "shard-0+shard-1+shard-2+shard-3+shard-4"


@pytest.fixture
def served(trained, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("RDV_")]:
        monkeypatch.delenv(name)
    place = trained.copy("ads", tmp_path / "ads")
    for schedule in (place / "schedules").glob("*.toml"):
        text = re.sub(
            r"(?m)^(sla_ms|until_ms) = (\d+)",
            lambda m: f"{m[1]} = {int(m[2]) * TIMES}",
            schedule.read_text(),
        )
        schedule.write_text(text)
    settings = place / "rdv.toml"
    text = settings.read_text()
    assert "enrich_timeout_ms = 20\n" in text
    settings.write_text(text.replace("enrich_timeout_ms = 20\n", "enrich_timeout_ms = 1500\n"))
    served = Served(place)
    try:
        yield served
    finally:
        served.end()


class Served:
    def __init__(self, place: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "rdv", "serve", str(place), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.pids: dict[str, int] = {}
        for line in self.process.stderr:
            if found := re.search(r"(\S+)-0 is ready \(process (\d+)\)", line):
                self.pids[found[1]] = int(found[2])
            if line.startswith("  stop "):
                break

    def ask(self, **more) -> dict:
        body = {"data": {"user": "u-0017", "page": "sports", "mobile": True}, **more}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request("POST", "/v1/decide", json.dumps(body), headers)
            return json.loads(connection.getresponse().read())

    def stop(self, model: str) -> None:
        os.kill(self.pids[model], signal.SIGSTOP)

    def end(self) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGCONT)
        self.process.terminate()
        self.process.communicate()


def ids(answer):
    return [ad["id"] for ad in answer["result"]["ads"]]


def test_pages_of_five_of_four_and_what_is_left(served):
    page = served.ask()
    assert (page["kind"], page["model"], page["step"]) == ("preferred", ALL, 1)
    scores = [ad["score"] for ad in page["result"]["ads"]]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert {ad % 5 for ad in ids(page)} > {2}

    served.stop("shard-2")
    four = served.ask()
    assert (four["kind"], four["step"]) == ("fallback", 2)
    assert four["model"] == ALL.replace("shard-2+", "")
    # The page is the same without the shard's own ads, filled up with ads of the others.
    rest = [ad for ad in ids(page) if ad % 5 != 2]
    assert ids(four)[: len(rest)] == rest
    assert (len(ids(four)), 2 in {ad % 5 for ad in ids(four)}) == (10, False)
    assert served.ask(schedule="quorum")["kind"] == "preferred"

    served.stop("shard-0")
    popular = served.ask()
    assert (popular["kind"], popular["model"], popular["step"]) == ("fallback", "popular", 3)
    served.stop("popular")
    house = served.ask(deadline_ms=500)
    assert (house["kind"], house["model"]) == ("default", None)
    assert ids(house) == ["house"]
