"""Check what the sender says of each answer of a collector, through real sockets."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from rdv.traces.exporter import ASKED_WAIT_S_MAX, WAIT_S_MAX, wait_s
from rdv.traces.sender import Fate, Sender
from rdv.traces.settings import Destination, InvalidTraces


@pytest.fixture
def sender_to():
    made = []

    def make(collector, **more):
        made.append(Sender(Destination(f"{collector.url}/v1/traces", **more)))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


def test_a_message_goes_with_its_headers(sender_to, collector):
    sender = sender_to(collector, headers=(("x-team", "fraud"),))
    assert sender.send(b"").fate is Fate.TAKEN
    assert sender.send(b"").fate is Fate.TAKEN
    call = collector.calls[0]
    assert (call.path, call.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
    assert (call.headers["x-team"], call.headers["Content-Encoding"]) == ("fraud", "gzip")
    assert call.handler.connection is collector.calls[1].handler.connection


def test_without_compression(sender_to, collector):
    assert sender_to(collector, is_compressed=False).send(b"").fate is Fate.TAKEN
    assert "Content-Encoding" not in collector.calls[0].headers


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.TAKEN), (202, Fate.TAKEN), (400, Fate.REFUSED), (401, Fate.REFUSED),
        (302, Fate.REFUSED), (500, Fate.REFUSED), (413, Fate.TOO_LARGE), (429, Fate.AGAIN),
        (502, Fate.AGAIN), (503, Fate.AGAIN), (504, Fate.AGAIN),
    ],
)  # fmt: skip
def test_each_status(sender_to, collector, status, fate):
    collector.behaviour = lambda call: call.answer(status, b"w\x1bhy", Content_Type="text/plain")
    found = sender_to(collector).send(b"")
    assert found.fate is fate
    if fate is not Fate.TAKEN:
        assert f"answers {status}" in found.reason
        assert "w hy" in found.reason


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        ("soon", 0, 0),
        ("", 0, 0),
        ("-1", 0, 0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0),
    ],
)
def test_retry_after(sender_to, collector, said, least, most):
    collector.behaviour = lambda call: call.answer(503, Retry_After=said)
    assert least <= sender_to(collector).send(b"").wait_s <= most


def test_retry_after_a_date(sender_to, collector):
    later = formatdate(time.time() + 1000, usegmt=True)
    collector.behaviour = lambda call: call.answer(429, Retry_After=later)
    assert 0 < sender_to(collector).send(b"").wait_s <= 1000


def trickle(call):
    call.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        call.handler.wfile.write(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_a_collector_that_hangs_is_given_up(sender_to, collector, how):
    collector.behaviour = trickle if how == "trickle" else lambda call: call.hang()
    sender = sender_to(collector, timeout_s=0.3)
    found = sender.send(b"")
    assert found.fate is Fate.AGAIN
    assert "no answer within 0.3 s" in found.reason or "timed out" in found.reason
    collector.behaviour = lambda call: call.accept()
    assert sender.send(b"").fate is Fate.TAKEN


def test_a_collector_that_is_away(sender_to, collector):
    sender = sender_to(collector)
    collector.close()
    found = sender.send(b"")
    assert (found.fate, "refused" in found.reason.lower()) == (Fate.AGAIN, True)


def test_a_kept_connection_that_was_closed_is_tried_once_more(sender_to, collector):
    sender = sender_to(collector)

    def accept_and_close(call):
        call.accept()
        call.handler.close_connection = True

    collector.behaviour = accept_and_close
    for _ in range(3):
        assert sender.send(b"").fate is Fate.TAKEN


def test_no_answer_of_http(sender_to, collector):
    collector.behaviour = lambda call: call.handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
    assert sender_to(collector).send(b"").fate is Fate.AGAIN


def test_a_certificate_that_is_not_there_is_named():
    with pytest.raises(InvalidTraces, match=r"nowhere\.pem"):
        Sender(Destination("https://127.0.0.1:1/v1/traces", certificate="nowhere.pem"))


def test_waits_grow_and_are_bounded():
    for failures in (1, 2, 5, 1000):
        assert 0.5 <= wait_s(failures, 0.0) <= WAIT_S_MAX
    assert wait_s(1, 12.0) == 12.0
    assert wait_s(1, 1e9) == ASKED_WAIT_S_MAX


@pytest.mark.parametrize(
    ("url", "proxy"),
    [("http://a..b", ""), (f"http://{'a' * 70}.example", ""), ("http://a", "http://me:s3/cret@b")],
    ids=["empty label", "long label", "proxy"],
)
def test_a_name_that_is_none_is_said_without_secrets(monkeypatch, url, proxy):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    sender = Sender(Destination(f"{url}/v1/traces"))
    for _ in range(2):
        found = sender.send(b"")
        assert (found.fate, "cannot be used" in found.reason) == (Fate.AGAIN, True)
        assert "s3" not in found.reason
