"""Check that replacing, scaling or removing a model loses no request and scores none twice."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from rdv.stream import open_stream

MODEL = """
import time
version = "{version}"
def predict(rows):
    time.sleep(0.005)
    return [{{"score": 0.5, "version": version}} for _ in rows]
"""

SCHEDULE = """
sla_ms = 40000
default = { score = 0.0 }
[[step]]
until_ms = 30000
accept = ["m"]
[[step]]
accept = ["*"]
"""


class Clients:
    """Clients send requests at a steady rate, each client on its own connection."""

    def __init__(self, port: int, count: int = 4) -> None:
        self._port = port
        self._end = threading.Event()
        self._news = threading.Condition()
        self.answers: list[dict] = []
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            self._ask_until_the_end(connection, number)

    def _ask_until_the_end(self, connection: http.client.HTTPConnection, number: int) -> None:
        while not self._end.wait(0.05):
            body = orjson.dumps({"data": {}, "key": f"k{number}-{len(self.answers)}"})
            connection.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
            answer = orjson.loads(connection.getresponse().read())
            with self._news:
                self.answers.append(answer)
                self._news.notify_all()

    def until(self, wanted) -> None:
        """Wait until a new answer is `wanted`."""
        with self._news:
            seen, end_s = len(self.answers), time.monotonic() + 90
            while not any(map(wanted, self.answers[seen:])):
                assert time.monotonic() < end_s
                self._news.wait(1.0)


@pytest.fixture
def one_model(decision: Path) -> Path:
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    (decision / "rdv.toml").write_text(text + '\n[models.m]\npath = "models/m.py"\n')
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    (decision / "models/m.py").write_text(MODEL.format(version="v0"))
    return decision


def port_of(decision: Path) -> int:
    return int(re.search(r"(?m)^port = (\d+)", (decision / "rdv.toml").read_text())[1])


def scores_of(decision: Path, model: str) -> list[dict]:
    with open_stream(str(decision / "scores")) as stream, stream.consumer([model]) as reader:
        found: list[dict] = []
        while records := reader.poll(10_000):
            found += [orjson.loads(record.value) for record in records]
        return found


def assert_scored_once(decision: Path, answers: list[dict], rdv) -> None:
    """Check that the model answered each request, with one score and no error."""
    assert Counter(answer["kind"] for answer in answers) == {"preferred": len(answers)}
    scores = scores_of(decision, "m")
    assert [score for score in scores if "error" in score or "refusal" in score] == []
    counts = Counter(score["id"] for score in scores)
    assert {id_: n for id_, n in counts.items() if n > 1} == {}
    assert {answer["id"] for answer in answers} <= counts.keys()
    assert rdv("verify", decision).code == 0


def set_lines(decision: Path, **settings: object) -> None:
    """Replace the settings of the model other than its path."""
    path = decision / "rdv.toml"
    text = path.read_text().partition("\n[models.m]")[0]
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    path.write_text(f'{text}\n[models.m]\npath = "models/m.py"\n{lines}')


def set_partitions(decision: Path, count: int) -> None:
    path = decision / "rdv.toml"
    path.write_text(re.sub(r"(?m)^#?partitions = .*", f"partitions = {count}", path.read_text()))


@pytest.mark.parametrize("partitions", [1, 4])
def test_seven_edits_of_a_model_cost_no_request(one_model, serve, rdv, partitions):
    set_partitions(one_model, partitions)
    served = serve()
    with Clients(port_of(one_model)) as clients:
        clients.until(lambda answer: answer["model"] == "m")
        for number in range(1, 8):
            (one_model / "models/m.py").write_text(MODEL.format(version=f"v{number}"))
            clients.until(lambda answer, n=number: answer["version"].startswith(f"v{n}@"))
    assert served.end() == 0
    assert_scored_once(one_model, clients.answers, rdv)
    assert not [line for line in served.lines if "ended (" in line]


def test_more_and_fewer_instances_cost_no_request(one_model, serve, rdv):
    set_partitions(one_model, 4)
    served = serve()
    with Clients(port_of(one_model)) as clients:
        clients.until(lambda answer: answer["model"] == "m")
        set_lines(one_model, instances=3)
        served.until(r"m-2 is ready")
        clients.until(lambda answer: answer["model"] == "m")
        set_lines(one_model, instances=1)
        served.until(r"m-2 is not wanted any more")
        clients.until(lambda answer: answer["model"] == "m")
        (one_model / "models/m.py").write_text(MODEL.format(version="last"))
        clients.until(lambda answer: answer["version"].startswith("last@"))
    assert served.end() == 0
    assert_scored_once(one_model, clients.answers, rdv)


def test_a_model_that_fails_and_an_edit_that_does_not_start_are_named(one_model, serve, rdv):
    served = serve()
    (one_model / "models/m.py").write_text("def predict(rows):\n    raise ValueError('no luck')\n")
    served.until(r"m-0 is ready")
    while rdv("ask", one_model, "{}", "--json").row()["kind"] != "default":
        pass  # the old one is still ending
    served.until(r"m failed on a row: ValueError: no luck")
    row = await_row(one_model, rdv, lambda row: row["state"] == "failing")
    assert re.match(r"failing: 100% of the last \d+: ValueError: no luck", row["trouble"])
    assert "ValueError: no luck" in rdv("status", one_model).out
    (one_model / "models/m.py").write_text(MODEL.format(version="good"))
    await_row(one_model, rdv, lambda row: runs(row, "good") and row["state"] == "ready")
    (one_model / "models/m.py").write_text("raise RuntimeError('at the import')\n")
    refused = r"running good@\w+; the new one did not start: RuntimeError"
    row = await_row(one_model, rdv, lambda row: re.match(refused, row["trouble"] or ""))
    assert row["state"] == "ready"
    (one_model / "models/m.py").write_text(MODEL.format(version="better"))
    await_row(one_model, rdv, lambda row: runs(row, "better") and not row["trouble"])
    assert served.end() == 0


def runs(row: dict, declared: str) -> bool:
    """Return whether the model runs in a version that is declared like that."""
    return (row["version"] or "").startswith(f"{declared}@")


def await_row(decision: Path, rdv, wanted) -> dict:
    """Return the row of the model in `rdv status` once it is as `wanted`."""
    while True:
        (row,) = rdv("status", decision, "--json").row()["models"]
        if wanted(row):
            return row
