"""Check `rdv model add --http`: the server is asked once, and what it says is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_server import ModelServer
from ports import free_port

from rdv.decision import load_decision


@pytest.fixture
def empty(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rdv("init", "fraud", "--template", "blank").code == 0
    return Path("fraud")


def test_a_server_that_answers_is_added_with_its_replicas(rdv, empty):
    with ModelServer() as one, ModelServer() as other:
        added = rdv("model", "add", "fraud", "m", "--http", one.url, "--http", other.url)
    assert added.code == 0, added.err
    model = load_decision("fraud", {}).models["m"]
    assert (model.http, model.protocol) == ([one.url, other.url], "json")
    assert one.url in rdv("model", "ls", "fraud").out


def test_what_the_server_says_is_shown_and_nothing_is_added(rdv, empty):
    before = (empty / "rdv.toml").read_bytes()
    with ModelServer(lambda asked: asked.answer(b'{"error":"no model m"}', "404 Not Found")) as one:
        command = ("model", "add", "fraud", "m", "--http", one.url, "--protocol", "tfserving")
        refused = rdv(*command)
        assert refused.code == 3
        assert "GET /v1/models/m says 404 Not Found: no model m" in refused.err
        assert (empty / "rdv.toml").read_bytes() == before
        assert rdv(*command, "--no-check").code == 0
    gone = rdv("model", "add", "fraud", "n", "--http", f"http://127.0.0.1:{free_port()}")
    assert (gone.code, "Connection refused" in gone.err) == (3, True)
    assert list(load_decision("fraud", {}).models) == ["m"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--http", "models:8080"), "is not http"),
        (("--http", "http://user:pass@a"), "token_env"),
        (("--protocol", "oip"), "--http"),
        (("--http", "http://a", "--path", "m.py"), "m.py"),
    ],
)
def test_options_that_cannot_be_used(rdv, empty, options, says):
    refused = rdv("model", "add", "fraud", "m", *options)
    assert refused.code in (2, 3)
    assert says in refused.err
    assert "pass" not in refused.err.replace("password", "")
