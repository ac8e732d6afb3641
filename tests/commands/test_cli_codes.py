"""Check that programs can read what is wrong without reading a sentence.

The same trouble is looked up by its code in the log of `rdv serve`, in `rdv status --json`, and in
the topics of `control`.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from waiting import wait_until

from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

MODEL = """
import time
def predict(rows):
    time.sleep(max(row.get("sleep_s", 0) for row in rows))
    return [0.5] * len(rows)
"""
BROKEN = "raise RuntimeError('at the import')\n"
SCHEDULE = 'sla_ms = 60000\ndefault = 0\n[[step]]\naccept = ["m"]\n'


@pytest.fixture
def one_model(decision: Path) -> Path:
    """Leave one model in the decision."""
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    (decision / "rdv.toml").write_text(text + '\n[models.m]\npath = "models/m.py"\n')
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    (decision / "models/m.py").write_text(MODEL)
    return decision


def records_of(decision: Path, topic: str) -> list[dict]:
    with open_stream(str(decision / "control")) as stream, stream.consumer([topic]) as reader:
        found: list[dict] = []
        while records := reader.poll(10_000):
            found += [orjson.loads(record.value) for record in records]
        return found


def await_record(decision: Path, topic: str, **wanted: object) -> dict:
    """Return the first record of `control` with these fields."""

    def found() -> dict | None:
        records = records_of(decision, topic)
        return next((one for one in records if wanted.items() <= one.items()), None)

    return wait_until(found, f"no record of {topic} has {wanted}", 0.05)


def await_status(decision: Path, rdv, wanted) -> dict:
    def found() -> dict | None:
        status = rdv("status", decision, "--json").row()
        return status if wanted(status) else None

    return wait_until(found, "the status is not as wanted", 0.05)


def test_a_model_that_does_not_load(one_model, serve, rdv):
    (one_model / "models/m.py").write_text(BROKEN)
    served = serve(wait=False)
    served.until(r"m-0 +\| error: model 'm' .* \[model_not_loaded\]$")
    served.until(r"rdv +\| m-0 ended .* \[model_not_loaded\]$")
    await_record(one_model, "status", state="not loaded", trouble_code="model_not_loaded")
    await_record(one_model, "models", model="m", state="down", code="not_ready_yet")
    event = await_record(one_model, "events", code="model_not_loaded", about="m-0")
    waits = "it waits for a change of models/m.py"
    assert event["message"] == f"m-0 ended (its model cannot be loaded); {waits}"
    assert {"time_ns", "boot", "monotonic_ns"} <= event.keys()
    status = await_status(one_model, rdv, lambda status: status["models"][0]["state"] == "waiting")
    trouble = status["models"][0]["trouble"]
    assert trouble.startswith("waits for a change of models/m.py: ")
    assert status["models"][0]["trouble_code"] == "model_not_loaded"
    (one_model / "models/m.py").write_text(MODEL)
    await_record(one_model, "models", model="m", state="up")

    (one_model / "models/m.py").write_text(BROKEN)
    served.until(r"m-0: the new version does not start; .* \[successor_not_ready\]$")
    await_record(one_model, "events", code="successor_not_ready", about="m-0")
    status = await_status(one_model, rdv, lambda status: status["models"][0]["trouble"])
    assert status["models"][0]["trouble_code"] == "successor_not_ready"

    (one_model / "models/m.py").write_text("def predict(rows):\n    raise ValueError('no luck')\n")
    await_status(one_model, rdv, lambda status: not status["models"][0]["trouble"])

    def fails(status: dict) -> str | None:
        # The version before it may still answer a request or two while it leaves.
        rdv("ask", one_model, "{}", "--json")
        return status["models"][0]["trouble"]

    status = await_status(one_model, rdv, fails)
    served.until(r"m failed on a row: ValueError: no luck \[predict_raised\]$")
    assert status["models"][0]["trouble_code"] == "model_failing"
    assert status["results"]["codes"].keys() == {"no_model_left"}
    assert served.end() == 0


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("schedules/production.toml", "sla_ms = -1\n", "invalid_schedule"),
        ("schedules/production.toml", SCHEDULE.replace('"m"', '"mm"'), "model-unknown"),
        ("schedules/production.toml", SCHEDULE.replace("default = 0\n", ""), "default-missing"),
        ("rdv.toml", "[http]\nport = 'no'\n", "invalid_decision"),
    ],
)
def test_an_edit_that_is_refused(one_model, serve, rdv, name, text, code):
    served = serve()
    (one_model / name).write_text(text)
    served.until(rf"{name}.* nothing is changed by it \[{code}\]$")
    event = await_record(one_model, "events", code=code)
    assert event["about"].endswith(name)
    status = await_status(one_model, rdv, lambda status: status["not_in_force"])
    assert status["not_in_force_codes"] == [code]
    assert status["not_in_force_about"] == [event["about"]]
    assert served.end() == 0


def test_a_missing_file_that_is_skipped(one_model, serve, rdv):
    served = serve()
    assert rdv("ask", one_model, "{}").code == 0
    assert served.end() == 0
    (values,) = [p for p in one_model.glob("input/*/0/*.jsonl") if p.stat().st_size]
    values.unlink()
    served = serve(wait=False)
    served.until(r"server-0 +\| damage in .* \[records_damaged\]$")
    served.up()
    status = await_status(one_model, rdv, lambda status: status["unread"])
    assert {code for one in status["unread"] for code in one["what_codes"]} == {"records_damaged"}
    line = await_record(one_model, "status", unread_codes=["records_damaged"])
    assert len(line["unread"]) == 1
    assert served.end() == 0


def ask(decision: Path, data: dict) -> dict:
    port = int(re.search(r"(?m)^port = (\d+)", (decision / "rdv.toml").read_text())[1])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        body = orjson.dumps({"data": data})
        client.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
        return orjson.loads(client.getresponse().read())


def test_a_request_that_is_shed(one_model, serve, rdv):
    settings = one_model / "rdv.toml"
    settings.write_text(
        settings.read_text().replace("[server]\n", "[server]\nmailboxes_max = 1\n", 1)
    )
    served = serve()
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(ask, one_model, {"sleep_s": 10})
        await_status(one_model, rdv, lambda status: status["proxies"]["in_flight"])
        answer = ask(one_model, {})
        status = await_status(one_model, rdv, lambda status: status["results"]["codes"])
        assert status["results"]["codes"] == {"overloaded": 1}
        assert (answer["kind"], answer["result"]) == ("default", 0)
        assert waiting.result()["code"] == ""
    assert served.end() == 0
