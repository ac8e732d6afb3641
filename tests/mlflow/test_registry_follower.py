"""Check that aliases are followed, whatever the server does, and that promotions are written."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import os
import threading
import time

import pytest
from registry import SCHEDULE, write_decision
from waiting import wait_until

from rdv.decision import InvalidDecision, load_decision
from rdv.decision.load import parse_decision
from rdv.decision.registry import REGISTRY_ENVIRONMENT, Asked, read_state, registry_rows
from rdv.mlflow import follower as mlflow_follower
from rdv.mlflow.follower import Follower
from rdv.mlflow.webhook import WebhookPortTaken, serve_webhook
from rdv.mlflow.write_back import promotion, record, rollback
from rdv.system.environment import clean_environment
from rdv.system.processes import is_process


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "rdv.mlflow")
    return lambda: [record.getMessage() for record in caplog.records]


def follower(decision, scored=0) -> Follower:
    return Follower(str(decision), lambda _: scored, os.environ)


def versions(decision) -> dict[str, str]:
    models = load_decision(str(decision), {}).models
    return {name: model.version for name, model in models.items()}


def test_a_moved_alias_becomes_a_second_model(registry, decision, lines):
    following = follower(decision)
    following.step()
    loaded = load_decision(str(decision), {})
    assert loaded.models["gbm"].path == "models/.mlflow/fraud/1"
    assert (decision / loaded.models["gbm"].path / "MLmodel").is_file()
    registry.add("2")
    registry.aliases["champion"] = "2"
    following.step()
    assert versions(decision) == {"gbm": "1", "gbm-b": "2"}
    (row,) = registry_rows(load_decision(str(decision), {}))
    assert row["asks"]["model"] == "gbm-b"
    assert f"rdv promote {decision} gbm-b --over gbm" in lines()[-1]
    count = len(lines())
    following.step()
    assert len(lines()) == count


def test_a_server_that_is_down_changes_nothing_and_is_reported_once(registry, decision, lines):
    following = follower(decision)
    following.step()
    short_s = following.step()
    registry.status = 500
    delays = [following.step() for _ in range(12)]
    assert versions(decision) == {"gbm": "1"}
    problems = [line for line in lines() if "cannot be followed" in line]
    assert len(problems) == 1
    assert "gbm with version 1 goes on" in problems[0]
    assert following.problem == problems[0]
    assert delays[0] > short_s
    assert max(delays) <= 600 * 1.2
    registry.status = None
    registry.add("2")
    registry.aliases["champion"] = "2"
    following.step()
    assert versions(decision) == {"gbm": "1", "gbm-b": "2"}
    assert following.problem == ""


def test_a_start_without_the_server_goes_on_with_what_was_downloaded(registry, decision, lines):
    follower(decision).step()
    registry.status = 500
    (decision / "models/.mlflow/fraud/1/MLmodel").write_text("damaged")
    follower(decision).step()
    assert versions(decision) == {"gbm": "1"}
    assert any("is not as it was downloaded" in line for line in lines())
    registry.status = None
    follower(decision).step()
    assert (decision / "models/.mlflow/fraud/1/MLmodel").read_text() != "damaged"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("token", "refuses access (HTTP 401)"),
        ("alias", "Registered model alias champion not found"),
        ("damaged", "no file MLmodel"),
    ],
)
def test_what_cannot_be_downloaded_does_not_touch_what_runs(
    registry, decision, lines, change, reason
):
    following = follower(decision)
    following.step()
    registry.add("2", {} if change == "damaged" else None)
    registry.aliases["champion"] = "2"
    if change == "token":
        registry.token = "right"
    if change == "alias":
        del registry.aliases["champion"]
    following.step()
    assert reason in lines()[-1]
    assert versions(decision) == {"gbm": "1"}


def test_a_fixed_version_is_asked_about_once(registry, decision):
    write_decision(decision, f'tracking_uri = "{registry.url}"', 'path = "models:/fraud/1"')
    following = follower(decision)
    following.step()
    count = len(registry.requests)
    following.step()
    assert len(registry.requests) == count
    assert versions(decision) == {"gbm": "1"}


def test_the_environment_comes_before_rdv_toml(registry, decision, monkeypatch):
    write_decision(decision, 'tracking_uri = "http://127.0.0.1:9"')
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
    follower(decision).step()
    assert versions(decision) == {"gbm": "1"}
    monkeypatch.setenv("RDV_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    later = follower(decision)
    later.step()
    assert "127.0.0.1:9" in later.problem


def moved(registry, decision):
    """Return the decision after its alias has moved to version 2."""
    following = follower(decision)
    following.step()
    registry.add("2")
    registry.aliases["champion"] = "2"
    following.step()
    return load_decision(str(decision), {})


def promote(decision) -> None:
    path = decision / "schedules" / "production.toml"
    path.write_text(SCHEDULE.replace('["gbm"]', '["gbm-b", "gbm"]'))


def test_a_promotion_and_its_rollback_are_written_back(registry, decision):
    loaded = moved(registry, decision)
    registry.aliases["champion"] = "1"
    done = record(loaded, "gbm-b", promotion(loaded, "gbm", "gbm-b", "pass", "production@1"))
    assert done == "tagged fraud version 2; @champion: version 1 → 2"
    assert registry.aliases == {"champion": "2"}
    tags = registry.tags["2"]
    assert tags["rdv.verdict"] == "pass"
    assert tags["rdv.over"] == "gbm version 1"
    assert tags["rdv.decision"] == "shop"
    assert tags["rdv.schedule"] == "production@1"
    assert tags["rdv.promoted_at"].startswith("20")
    record(loaded, "gbm-b", rollback(loaded, "gbm", "gbm-b", "too many errors"))
    assert registry.aliases == {"champion": "1"}
    assert registry.tags["2"]["rdv.verdict"] == "rolled back: too many errors"
    assert "rdv.rolled_back_at" in registry.tags["2"]


def test_an_alias_that_has_moved_on_stays(registry, decision):
    loaded = moved(registry, decision)
    registry.add("3")
    registry.aliases["champion"] = "3"
    done = record(loaded, "gbm-b", promotion(loaded, "gbm", "gbm-b", "pass", "s"))
    assert "names version 3 meanwhile, and stays" in done
    assert registry.aliases == {"champion": "3"}


def test_what_cannot_be_written_now_is_written_later_and_asks_nothing_meanwhile(registry, decision):
    loaded = moved(registry, decision)
    promote(decision)
    registry.status = 503
    for what in (
        promotion(loaded, "gbm", "gbm-b", "pass", "s"),
        rollback(loaded, "gbm", "gbm-b", "late"),
    ):
        assert "rdv serve tries again" in record(loaded, "gbm-b", what)
    (decision / "schedules" / "production.toml").write_text(SCHEDULE)
    assert registry_rows(loaded)[0]["not_written_back"] == 2
    registry.status = None
    follower(decision).step()
    assert registry.aliases == {"champion": "1"}
    state = read_state(str(decision), "gbm")
    assert state.write_backs == []
    assert state.asked is None
    assert registry.tags["2"].keys() >= {"rdv.promoted_at", "rdv.rolled_back_at"}


def test_a_promoted_challenger_of_another_alias_moves_the_champions_alias(registry, decision):
    registry.add("2")
    registry.aliases["challenger"] = "2"
    model = 'path = "models:/fraud@champion"\n[models.next]\npath = "models:/fraud@challenger"'
    write_decision(decision, f'tracking_uri = "{registry.url}"', model)
    following = follower(decision)
    following.step()
    loaded = load_decision(str(decision), {})
    record(loaded, "next", promotion(loaded, "gbm", "next", "pass", "s"))
    assert registry.aliases == {"champion": "2", "challenger": "2"}
    path = decision / "schedules" / "production.toml"
    path.write_text(SCHEDULE.replace('["gbm"]', '["next", "gbm"]'))
    following.step()
    assert versions(decision) == {"gbm": "1", "next": "2"}
    assert read_state(str(decision), "gbm").asked is None


def test_a_problem_ends_with_the_model_that_had_it(registry, decision):
    following = follower(decision)
    registry.status = 503
    following.step()
    assert "cannot be followed" in following.problem
    write_decision(decision, f'tracking_uri = "{registry.url}"', 'command = ["true"]')
    following.step()
    assert following.problem == ""


def test_downloaded_files_are_not_read_again_at_each_poll(registry, decision, monkeypatch):
    following = follower(decision)
    for _ in range(2):
        following.step()
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(a) or digest(*a))
    following.step()
    assert read == []


def test_an_alias_that_may_not_be_moved_is_given_up(registry, decision):
    loaded = moved(registry, decision)
    answer = registry.answer

    def refusing(method, path, query, body):
        if method == "POST" and path.endswith("registered-models/alias"):
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "it is reserved"}
        return answer(method, path, query, body)

    registry.answer = refusing
    registry.aliases["champion"] = "1"
    done = record(loaded, "gbm-b", promotion(loaded, "gbm", "gbm-b", "pass", "s"))
    assert done.endswith("@champion was not moved: the MLflow server at " + registry.url
                         + " refuses: it is reserved")  # fmt: skip
    assert read_state(str(decision), "gbm").write_backs == []


def test_a_model_of_no_registry_writes_nothing(registry, decision):
    loaded = moved(registry, decision)
    assert promotion(loaded, "gbm", "rules", "pass", "s") is None


def test_the_name_of_the_second_version_is_reserved():
    text = '[models.gbm]\npath = "models:/fraud@champion"\n[models.gbm-b]\npath = "x.py"\n'
    with pytest.raises(InvalidDecision, match="name of the second version of gbm"):
        parse_decision(text, "rdv.toml")
    with pytest.raises(InvalidDecision, match="neither an alias nor a version"):
        parse_decision('[models.gbm]\npath = "models:/fraud"', "rdv.toml")


def post(address, headers: dict[str, str], body: bytes = b"{}") -> int:
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("POST", "/v1/mlflow", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def signed(secret: str, sent_s: float, body: bytes = b"{}") -> dict[str, str]:
    content = b"delivery-1.%d.%b" % (sent_s, body)
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": "delivery-1",
        "X-MLflow-Timestamp": str(int(sent_s)),
        "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_only_signed_webhooks_are_accepted():
    poked = threading.Event()
    with serve_webhook("127.0.0.1", 0, "secret", poked.set) as address:
        now_s = time.time()
        for headers in ({}, signed("wrong", now_s), signed("secret", now_s - 3600)):
            assert post(address, headers) == 401
        assert post(address, signed("secret", now_s), b'{"changed": 1}') == 401
        assert not poked.is_set()
        assert post(address, signed("secret", now_s)) == 202
        assert poked.is_set()
        with pytest.raises(WebhookPortTaken), serve_webhook(*address, "", poked.set):
            pass


def test_a_webhook_ends_the_wait_for_the_next_question(registry, decision):
    write_decision(decision, f'tracking_uri = "{registry.url}"\npoll_ms = 3600000')
    following = follower(decision)
    thread = threading.Thread(target=following.run)
    thread.start()
    try:
        end_s = time.monotonic() + 60
        while following.polls < 1:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        registry.add("2")
        registry.aliases["champion"] = "2"
        with serve_webhook("127.0.0.1", 0, "", following.poke) as address:
            assert post(address, {}) == 202
        while following.polls < 2:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    finally:
        following.stop()
        thread.join(60)
    assert versions(decision) == {"gbm": "1", "gbm-b": "2"}


def test_a_flood_of_webhooks_without_a_secret_asks_the_registry_only_now_and_then(
    registry, decision, monkeypatch
):
    write_decision(decision, f'tracking_uri = "{registry.url}"\npoll_ms = 3600000')
    monkeypatch.setattr(mlflow_follower, "POKE_DISTANCE_S", 3600.0)
    monkeypatch.setattr(mlflow_follower, "POKE_DISTANCE_MAX_S", 3600.0)
    following = follower(decision)
    thread = threading.Thread(target=following.run)
    thread.start()
    try:
        wait_until(lambda: following.polls)
        with serve_webhook("127.0.0.1", 0, "", following.poke) as address:
            for _ in range(50):
                assert post(address, {}) == 202
        asked, polls = len(registry.requests), following.polls
        for _ in range(20):
            following.poke()
            threading.Event().wait(0.01)
        assert (len(registry.requests), following.polls) == (asked, polls) == (asked, 1)
    finally:
        following.stop()
        thread.join(60)
    assert not thread.is_alive()


def test_webhooks_ask_a_failing_registry_ever_more_rarely(registry, decision):
    write_decision(decision, f'tracking_uri = "{registry.url}"\npoll_ms = 600000')
    registry.status = 503
    following, distances = follower(decision), []
    for _ in range(9):
        distances.append(following._distance_s())
        following.step()
    assert distances == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("more", [(), ("--yes", "--watch", "600s")], ids=["judge", "watch"])
def test_a_stop_that_comes_just_before_a_promotion_ends_it(
    registry, decision, monkeypatch, tmp_path, more
):
    """The stop may come at any time between the last check and the start of the process."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    following = follower(decision)
    asked = Asked(model="gbm-b", version="2", over="gbm", since_ns=0)
    following.stop()
    assert following._promote(load_decision(str(decision), {}), asked, *more) is None
    if (tmp_path / "pid").exists():
        assert not is_process(int((tmp_path / "pid").read_text()))


def test_models_do_not_get_what_opens_the_registry(monkeypatch):
    for name in ("RDV_MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in clean_environment(os.environ).values()
    assert "RDV_MLFLOW_TRACKING_URI" in clean_environment(os.environ, REGISTRY_ENVIRONMENT)


def test_the_list_of_libraries_is_that_of_the_version(registry, decision):
    model = 'path = "models:/fraud@champion"\nrequirements = "models:/requirements.txt"'
    write_decision(decision, f'tracking_uri = "{registry.url}"', model)
    moved(registry, decision)
    models = load_decision(str(decision), {}).models
    assert models["gbm"].requirements == "models/.mlflow/fraud/1/requirements.txt"
    assert models["gbm-b"].requirements == "models/.mlflow/fraud/2/requirements.txt"
