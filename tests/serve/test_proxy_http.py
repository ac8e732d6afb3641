"""Check what clients see of a decision in one process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from ports import free_port
from running import Client, write_decision
from serving import SLOW, serving

ENRICHER = """
import time

def enrich(data):
    if data.get("profile") == "slow":
        time.sleep(0.3)
    if data.get("profile") == "fails":
        raise KeyError("no such customer")
    return {**data, "gbm": "nan"} if data.get("profile") == "bad" else {**data, "known": True}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    directory = tmp_path_factory.mktemp("web") / "fraud"
    cohorts = '[cohorts]\nsalt = "s"\n[cohorts.half]\nshare = 0.5\nschedule = "other"\n'
    http = 'enrich = "models/profile.py:enrich"\nenrich_timeout_ms = 100'
    port = write_decision(directory, http=http, more=cohorts)
    (directory / "models" / "profile.py").write_text(ENRICHER)
    other = 'sla_ms = 2000\ndefault = 0\n[[step]]\naccept = ["mlp"]\n'
    (directory / "schedules" / "other.toml").write_text(other)
    (directory / "schedules" / "slow.toml").write_text(SLOW)
    with serving(directory, port):
        yield port


@pytest.fixture
def client(web):
    with Client(web) as client:
        yield client


INLINE = {"sla_ms": 5000, "default": 1, "step": [{"accept": ["fast"]}]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"data": 1} x', 400, "malformed_json"),
        (b'{"data": "\\ud800"}', 400, "malformed_json"),
        (b'{"data": 1e999}', 422, "number_out_of_range"),
        (b'{"data": 18446744073709551616}', 422, "number_out_of_range"),
        (b'{"data": [1' + b"0" * 400 + b"]}", 422, "number_out_of_range"),
        (
            b'{"data": 1, "schedule": {"default": 1180591620717411303424}}',
            422,
            "number_out_of_range",
        ),
        (b'{"data": "\xff"}', 400, "malformed_json"),
        (b'{"data": ' + b"[" * 100_000, 422, "nested_too_deeply"),
        (b'{"data": ' + b"[" * 101 + b"]" * 101 + b"}", 422, "nested_too_deeply"),
        (b'\xef\xbb\xbf{"data": 1}', 400, "malformed_json"),
        (b"[]", 400, "invalid_request"),
        (b"{}", 400, "invalid_request"),
        (b'{"data": 1, "dta": 2}', 400, "invalid_request"),
        (b'{"data": 1, "key": 7.5}', 400, "invalid_request"),
        (b'{"data": 1, "deadline_ms": -1}', 400, "invalid_request"),
        (b'{"data": 1, "deadline_ms": 0}', 400, "invalid_request"),
        ({"data": 1, "key": "k" * 2000}, 400, "invalid_request"),
        ({"data": 1, "schedule": "nobody's"}, 422, "unknown_schedule"),
        ({"data": 1, "schedule": {"sla_ms": 1}}, 422, "invalid_schedule"),
        ({"data": 1, "schedule": {**INLINE, "step": []}}, 422, "invalid_schedule"),
    ],
)
def test_what_is_wrong_is_named(client, body, status, code):
    found, answer = client.post(body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]


def test_a_broken_escape_is_not_called_a_truncated_body(client):
    for body in (b'{"data": 1, "key": "\\ud800"}', b'{"data": 1, "models": ["\\udc00"]}'):
        status, answer = client.post(body)
        assert (status, answer["error"]["code"]) == (400, "malformed_json")
        assert "surrogate" in answer["error"]["message"]


def test_another_media_type_is_refused(client):
    status, answer = client.post({"data": 1}, {"Content-Type": "text/xml"})
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert client.post({"data": {}}, {"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_health(client):
    assert client.get("/livez") == (200, {"status": "ok"})
    status, body = client.get("/readyz")
    assert (status, body["status"], body["missing"]) == (200, "ready", [])
    assert client.get("/nowhere")[0] == 404
    assert client.get("/v1/decide")[0] == 405


def test_named_and_inline_schedules(client):
    answer = client.post({"data": {}, "schedule": "other"})[1]
    assert (answer["model"], answer["schedule"].split("@")[0]) == ("mlp", "other")
    answer = client.post({"data": {}, "schedule": INLINE})[1]
    assert (answer["model"], answer["schedule"].split("@")[0]) == ("fast", "inline")


def test_the_clients_own_deadline_counts(client):
    body = {"data": {"gbm": "sleep"}, "schedule": "slow", "deadline_ms": 30}
    status, answer = client.post(body)
    assert (status, answer["kind"], answer["result"]) == (200, "default", "late")


def test_a_trace_is_returned_only_if_asked_for(client):
    assert "trace" not in client.post({"data": {}})[1]
    answer = client.post({"data": {}, "schedule": "slow", "trace": True})[1]
    assert "gbm" in {arrival["model"] for arrival in answer["trace"]}


def test_cohorts_are_recorded_and_stable(client):
    seen = {}
    for _ in range(2):
        for number in range(20):
            answer = client.post({"data": {}, "key": f"user-{number}"})[1]
            name = answer["schedule"].split("@")[0]
            assert (answer["cohort"], name) in (("half", "other"), (None, "production"))
            assert seen.setdefault(number, answer["cohort"]) == answer["cohort"]
    assert set(seen.values()) == {"half", None}
    assert client.post({"data": {}})[1]["cohort"] is None
    # A request that names its schedule is in no cohort.
    assert client.post({"data": {}, "key": "user-1", "schedule": "slow"})[1]["cohort"] is None


@pytest.mark.parametrize("profile", ["slow", "fails", "fine"])
def test_the_enricher_may_fail_or_be_slow(client, profile):
    answer = client.post({"data": {"profile": profile}, "schedule": "slow"})[1]
    assert answer["kind"] == "preferred"


@pytest.mark.parametrize("timeout_ms", [49, 50])
def test_an_enricher_with_more_time_than_the_sla_is_warned_of(tmp_path, timeout_ms):
    directory = tmp_path / "fraud"
    http = f'enrich = "models/profile.py:enrich"\nenrich_timeout_ms = {timeout_ms}'
    port = write_decision(directory, http=http)
    (directory / "models" / "profile.py").write_text(ENRICHER)
    (directory / "schedules" / "production.toml").write_text(SLOW.replace("20000", "50"))
    with serving(directory, port) as process:
        warned = [line for line in process.said if "http.enrich_timeout_ms is 50" in line]
    assert len(warned) == (timeout_ms == 50)


def test_the_enricher_speaks_to_all_models(client):
    answer = client.post({"data": {"profile": "bad"}, "schedule": "slow"})[1]
    assert answer["kind"] == "default"


@pytest.mark.parametrize(("when_full", "status"), [("429", 429), ("default", 200)])
def test_a_full_proxy_says_so_or_answers_the_default(tmp_path, when_full, status):
    directory = tmp_path / "fraud"
    http = f'in_flight_max = 1\nwhen_full = "{when_full}"'
    port = write_decision(directory, http=http)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port), Client(port) as client, Client(port) as other:
        body = b'{"data": {"gbm": "sleep"}, "deadline_ms": 10000}'
        client._connection.request("POST", "/v1/decide", body)
        # These are two connections: the second request is accepted until the first one is read.
        for _ in range(100):
            found, answer = other.post({"data": {}, "deadline_ms": 1})
            if found == 429 or answer["code"] == "overloaded":
                break
        assert found == status
        if status == 429:
            assert other.headers["Retry-After"] == "1"
            assert answer["error"]["in_flight_max"] == 1
        else:
            assert (answer["kind"], answer["answered_by"]) == ("default", "proxy")
        assert client._connection.getresponse().status == 200


def test_drain_answers_what_is_in_flight(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port) as process, Client(port) as client, Client(port) as late:
        assert late.get("/readyz")[0] == 200
        client._connection.request("POST", "/v1/decide", b'{"data": {"gbm": "sleep"}}')
        late.post({"data": {}, "deadline_ms": 1})  # by its answer, the first request has been read
        process.send_signal(signal.SIGTERM)
        response = client._connection.getresponse()
        assert response.status == 200
        assert b'"preferred"' in response.read()
        assert process.wait(30) == 0


def test_the_stages_give_the_same_answers(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    answers = []
    for call in ("run_in_process(sys.argv[1])", "run_direct(sys.argv[1], 'gbm')"):
        with serving(directory, port, call), Client(port) as client:
            answers.append(client.post({"data": {}})[1])
            status, answer = client.post({"data": {"gbm": "raise"}})
            assert (status, answer["kind"]) == (200, "default")
            assert "no such luck" in answer["reason"]
            assert answer["code"] in ("no_model_left", "champion_failed")
    first, second = answers
    assert first.keys() == second.keys()
    for key in (
        "result",
        "model",
        "version",
        "kind",
        "reason",
        "code",
        "step",
        "schedule",
        "cohort",
    ):
        assert first[key] == second[key]


def test_a_port_that_is_taken_is_named(tmp_path):
    import socket

    directory = tmp_path / "fraud"
    write_decision(directory)
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = (directory / "rdv.toml").read_text().split("\n", 2)
        (directory / "rdv.toml").write_text(f"[http]\nport = {port}\n{text[2]}")
        code = "import sys; from rdv.serve.stages import *; run_in_process(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", code, directory],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "AddressTaken" in done.stderr
