"""Check that `rdv serve` scales its models, with real processes that are deliberately slow."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from cli_kit import Served
from ports import free_port

from rdv.status.lines import read_scaling
from rdv.stream import open_stream

SLOW = """
import time

def predict(rows):
    time.sleep({row_ms} / 1000 * len(rows))
    return ["{name}"] * len(rows)
"""
SCHEDULE = """
sla_ms = 2000
default = "nobody"
[[step]]
until_ms = {window_ms}
accept = ["slow"]
[[step]]
accept = ["*"]
"""


class Clients:
    """Clients send requests without a pause until the `with` block ends."""

    def __init__(self, port, count):
        self._port, self._over = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(count)]

    def _ask(self, number):
        key = 0
        while not self._over.is_set():
            key += 1
            ask(self._port, f"{number}-{key}")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def ask(port, key="k"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/decide", json.dumps({"data": {}, "key": key}))
        return json.loads(connection.getresponse().read())


@pytest.fixture
def serve_slow(tmp_path, monkeypatch, start):
    """Serve `slow` (with settings) and `fast`; return the command and its port."""
    monkeypatch.chdir(tmp_path)

    def run(settings, *, row_ms=20, window_ms=60):
        place, port = Path("d"), free_port()
        (place / "models").mkdir(parents=True)
        (place / "schedules").mkdir()
        for name, cost_ms in (("slow", row_ms), ("fast", 0)):
            code = SLOW.format(name=name, row_ms=cost_ms)
            (place / f"models/{name}.py").write_text(code)
        (place / "schedules/production.toml").write_text(SCHEDULE.format(window_ms=window_ms))
        (place / "rdv.toml").write_text(
            f'partitions = 4\n[http]\nport = {port}\n[models.slow]\npath = "models/slow.py"\n'
            f'{settings}\n[models.fast]\npath = "models/fast.py"\n'
        )
        return Served(start("serve", "d")).up(), port

    return run


def scaling(rdv):
    (row,) = [r for r in rdv("status", "d", "--json").row()["models"] if r["model"] == "slow"]
    return row


def on_record():
    with open_stream("d/control") as control, control.consumer(["scaling"]) as reader:
        return [read_scaling(record.value).instances for record in reader.poll()]


def test_a_slow_model_gets_company_under_load_and_loses_it_again(rdv, serve_slow):
    served, port = serve_slow("instances_max = 2\nidle_ms = 2000\nscale_down_ms = 2000")
    with Clients(port, 8):
        served.until(r"slow: 1 → 2 instances: \d+ of \d+ requests/s missed their window")
        served.until("slow-1 is ready")
        row = scaling(rdv)
        assert (row["scaling"]["wanted"], row["scaling"]["max"]) == (2, 2)
        assert "missed their window" in row["scaling"]["reason"]
    served.until("slow: 2 → 1 instances: ")
    assert "slow-1 is not wanted any more" in served.until("slow-1 is not wanted").string
    assert on_record() == [1, 2, 1]
    assert " of 1..2 " in rdv("status", "d").out
    assert ask(port)["result"] in ("slow", "fast")


def test_a_model_that_sleeps_is_started_by_a_request_and_sleeps_again(rdv, serve_slow):
    served, port = serve_slow("instances_min = 0\nidle_ms = 1500", row_ms=0, window_ms=1500)
    assert (scaling(rdv)["state"], scaling(rdv)["instances"]) == ("asleep", 0)
    first = ask(port)
    # The fallback answers at once: the server knows that no instance can answer.
    assert (first["result"], first["kind"]) == ("fast", "fallback")
    assert first["waited_ms"] < 1500
    served.until("slow: 0 → 1 instances: it is asked for")
    served.until("slow-0 is ready")
    assert any(ask(port)["result"] == "slow" for _ in range(500))
    served.until(r"slow: 1 → 0 instances: not asked for \d+ s")
    served.until("slow-0 is not wanted any more")
    assert any(ask(port)["result"] == "fast" for _ in range(500))
    served.until("slow: 0 → 1 instances: it is asked for")
    served.until("slow-0 is ready")
    assert served.end() == 0


def test_a_killed_instance_is_no_reason_to_scale(rdv, serve_slow):
    served, port = serve_slow(
        "instances = 2\ninstances_max = 4\nidle_ms = 600000\nscale_down_ms = 600000",
        row_ms=1, window_ms=1500,
    )  # fmt: skip
    with Clients(port, 2):
        for _ in range(2):
            os.kill(served.pid("slow-1"), signal.SIGKILL)
            served.until("slow-1 is ready")
        for _ in range(300):
            ask(port)
    assert on_record() == [2]
    assert not [line for line in served.lines if "instances: " in line]


def test_an_edit_of_the_limits_takes_effect_at_once(rdv, serve_slow):
    served, _ = serve_slow("instances_max = 2")
    settings = Path("d/rdv.toml")
    settings.write_text(settings.read_text().replace("instances_max = 2", "instances_min = 3"))
    served.until("slow-2 is ready")
    assert not [line for line in served.lines if "has changed" in line], "nobody is replaced"
    settings.write_text(settings.read_text().replace("instances_min = 3", "instances_min = 0"))
    served.until("slow-1 is not wanted any more")
    assert scaling(rdv)["scaling"]["wanted"] == 1, "one stays, for as long as it is asked for"


def test_more_instances_than_partitions_get_a_warning(serve_slow):
    served, _ = serve_slow("instances = 6")
    told = "d/rdv.toml: models.slow.instances: 6 instances share 4 partitions"
    assert any(told in line for line in served.lines)
    assert served.pid("slow-3")
    assert not [line for line in served.lines if "slow-4" in line]
