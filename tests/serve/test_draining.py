"""Check that a stopping proxy answers the requests in flight and refuses new ones."""

from __future__ import annotations

import http.client
import re
import signal
import socket

import orjson
import pytest
from running import DEADLINE_S, Client, Decision, write_decision

PATIENT = """
sla_ms = 60000
default = "late"
[[step]]
accept = ["gbm"]
"""
BODY = b'{"data": {}}'
HEAD = (
    "POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()


@pytest.fixture
def decision(tmp_path):
    directory = tmp_path / "fraud"
    decision = Decision(directory, write_decision(directory))
    (directory / "schedules" / "production.toml").write_text(PATIENT)
    try:
        decision.start("server", "gbm", "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


def connect(decision):
    return socket.create_connection(("127.0.0.1", decision.port), timeout=DEADLINE_S)


def answer(connection):
    """Return the next answer on a connection: (status, headers, JSON)."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers, orjson.loads(response.read())


def await_drain(decision):
    """Wait until the proxy accepts no more connections."""
    for _ in range(100_000):
        try:
            connect(decision).close()
        except ConnectionResetError:
            continue  # the connection was waiting to be accepted
        except ConnectionRefusedError:
            return
    raise AssertionError("it still accepts")


def test_draining_answers_open_requests_and_refuses_new_ones(decision):
    decision.signal("gbm", signal.SIGSTOP)
    with connect(decision) as asked, connect(decision) as kept, Client(decision.port) as other:
        asked.sendall(HEAD + BODY)
        kept.sendall(HEAD + BODY[:3])
        # This request came after the others: once it is answered, they have been read.
        assert other.post({"data": {}, "deadline_ms": 1})[1]["kind"] == "default"
        decision.signal("proxy-0", signal.SIGTERM)
        await_drain(decision)
        kept.sendall(BODY[3:])
        status, headers, told = answer(kept)
        assert (status, told["error"]["code"]) == (503, "draining")
        assert headers["Retry-After"] == "1"
        assert headers["Connection"] == "close"
        assert kept.recv(1) == b""
        decision.signal("gbm", signal.SIGCONT)
        status, headers, told = answer(asked)
        assert (status, told["kind"], told["model"]) == (200, "preferred", "gbm")
        assert asked.recv(1) == b""
    assert decision.processes.pop("proxy-0").wait(DEADLINE_S) == 0
    assert decision.stories()[told["id"]]["model"] == "gbm"


def test_draining_refuses_what_follows_on_a_waiting_connection(decision):
    decision.signal("gbm", signal.SIGSTOP)
    with connect(decision) as asked, Client(decision.port) as other:
        asked.sendall(HEAD + BODY)
        assert other.post({"data": {}, "deadline_ms": 1})[1]["kind"] == "default"
        decision.signal("proxy-0", signal.SIGTERM)
        await_drain(decision)
        asked.sendall(HEAD + BODY)
        decision.signal("gbm", signal.SIGCONT)
        data = b"".join(iter(lambda: asked.recv(4096), b""))
    statuses = re.findall(rb"HTTP/1.1 (\d+)", data)
    assert statuses == [b"200", b"503"]
    assert b"Retry-After: 1\r\n" in data
    assert decision.processes.pop("proxy-0").wait(DEADLINE_S) == 0
