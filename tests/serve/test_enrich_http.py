"""Check features from an HTTP server: read, cached, refused, late, and marked as stale."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from echo import echoing


class Features(BaseHTTPRequestHandler):
    """Answers with the path that was asked for; the test says what else it does."""

    protocol_version = "HTTP/1.1"
    body = None
    status = 200
    hold = threading.Event()
    count = 0

    def do_GET(self):
        type(self).count += 1
        if self.path.endswith("/slow"):
            self.hold.wait(60)
        body = self.body or json.dumps({"path": self.path, "n": 1}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Features) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1]
        Features.hold.set()
        running.shutdown()


@pytest.fixture(scope="module")
def decision(server, tmp_path_factory):
    settings = f"""
[http]
port = PORT

[enrich_http]
url = "http://127.0.0.1:{server}/users/{{key}}"
by = "user.id"
fields = ["path", "more"]
timeout_ms = 500
cache_ms = 300000
"""
    with echoing(tmp_path_factory.mktemp("features") / "d", settings) as running:
        running.settings = settings
        yield running


def saw(decision, id_):
    _, answer = decision.ask({"data": {"user": {"id": id_}}})
    return answer["result"]["saw"]


def test_features_are_read_once_and_kept(decision):
    before = Features.count
    for _ in range(3):
        row = saw(decision, "a b/c")
        assert row["features"] == {"path": "/users/a%20b%2Fc", "more": None}
        assert row["features_stale"] is False
    assert Features.count == before + 1
    assert saw(decision, 7)["features"]["path"] == "/users/7"


def test_what_cannot_be_read_is_null(decision):
    assert saw(decision, "slow")["features"] is None
    Features.hold.set()
    for body, status, expected in (
        (b"[1]", 200, None),
        (b"NaN", 200, None),
        (b"{}", 500, None),
        (b"", 404, {"path": None, "more": None}),
    ):
        Features.body, Features.status = body or b" ", status
        try:
            row = saw(decision, f"{status}-{body.hex()}")
        finally:
            Features.body, Features.status = None, 200
        assert (row["features"], row["features_stale"]) == (expected, expected is None)


def test_stale_features_are_marked(decision):
    assert saw(decision, "old")["features_stale"] is False
    decision.write(decision.settings.replace("cache_ms = 300000", "cache_ms = 0"))
    before = Features.count
    assert any(saw(decision, "new") and Features.count > before + 3 for _ in range(2_000))
    path = {"path": "/users/new", "more": None}
    Features.status = 503
    try:
        rows = [saw(decision, "new") for _ in range(8)]
    finally:
        Features.status = 200
    assert all(row["features"] == path and row["features_stale"] for row in rows)


def test_data_that_is_no_object_stays_as_it_is(decision):
    assert decision.ask({"data": [1]})[1]["result"]["saw"] == [1]
