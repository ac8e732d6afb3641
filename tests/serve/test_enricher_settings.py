"""Check the enrichers of [enrich_redis] and [enrich_http]: faults, secrets, and their end."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from rdv.decision.load import parse_decision
from rdv.rendezvous.messages import Request
from rdv.serve.proxy.enricher import EnricherChain, EnricherLoader

REDIS = '[enrich_redis]\nurl_from = "FEATURES_URL"\ninto = "more"\n'
HTTP = (
    '[enrich_http]\nurl = "http://127.0.0.1:{port}/{{key}}"\nauthorization_from = "FEATURES_AUTH"\n'
    "timeout_ms = 60000\n"
)
ENV = 'env = ["FEATURES_URL", "FEATURES_AUTH"]\n'


def request(key: str = "k") -> Request:
    return Request("1" * 32, 0, "h", 1, "p", msgspec.Raw(b"{}"), key)


@pytest.fixture
def asked():
    """Serve features; yield the port and the headers that have come."""
    found = []

    class Features(BaseHTTPRequestHandler):
        def do_GET(self):
            found.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"n": 1}')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Features) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], found
        server.shutdown()
        thread.join()


def load(settings: str):
    """Return what enriches with these settings, and the status of the loader."""
    taken: list[EnricherChain | None] = []
    loader = EnricherLoader(taken.append)
    loader.want(parse_decision(ENV + settings, "rdv.toml"))
    return taken[-1], loader.figures()


def enriched(settings: str, count: int = 1) -> tuple[bytes, dict[str, object]]:
    """Return the data of an enriched request, and the status of the loader after it."""

    async def run():
        chain, figures = load(settings)
        done: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        assert chain is not None
        chain.enrich(request(), "client", done.set_result)
        data = bytes((await done).data)
        failures = [link.failures.trouble.text for link in chain.links]
        chain.close()
        return data, {**figures, "failures": failures}

    return asyncio.run(run())


def test_a_header_with_a_line_break_at_its_end_is_sent_without_it(asked, monkeypatch):
    port, found = asked
    monkeypatch.setenv("FEATURES_AUTH", "Bearer s3cret\n")
    data, status = enriched(HTTP.format(port=port))
    assert data == b'{"features":{"n":1},"features_stale":false}'
    assert found == ["Bearer s3cret"]
    assert status == {"failures": [""]}


@pytest.mark.parametrize("value", ["Bearer s3\ncret", "s3cret\u00fc"], ids=["line break", "umlaut"])
def test_a_header_that_cannot_be_sent_is_named_and_not_shown(value, monkeypatch, caplog):
    monkeypatch.setenv("FEATURES_AUTH", value)
    chain, status = load(HTTP.format(port=9))
    assert chain is None
    assert "enrich_http.authorization_from = 'FEATURES_AUTH'" in status["enricher_fault"]
    assert "cret" not in str(status) + caplog.text


@pytest.mark.parametrize(
    "url", ["redis://:s3cr/et@host:6379", "http://:s3cr@host"], ids=["port", "scheme"]
)
def test_an_address_with_a_password_is_not_shown(url, monkeypatch, caplog):
    monkeypatch.setenv("FEATURES_URL", url)
    chain, status = load(REDIS)
    assert chain is None
    assert "enrich_redis.url_from = 'FEATURES_URL'" in status["enricher_fault"]
    assert "s3cr" not in str(status) + caplog.text


def test_one_that_cannot_be_used_hinders_no_other(asked, monkeypatch):
    port, _ = asked
    monkeypatch.delenv("FEATURES_URL", raising=False)
    monkeypatch.setenv("FEATURES_AUTH", "Bearer x")
    data, status = enriched(REDIS + HTTP.format(port=port))
    assert data == b'{"features":{"n":1},"features_stale":false}'
    assert "enrich_redis.url_from = 'FEATURES_URL'" in status["enricher_fault"]


class Link:
    """Enriches when the test says so, unless it was retired before."""

    def __init__(self):
        self.waiting, self.is_retired = [], False

    def enrich(self, request, holder, done):
        assert not self.is_retired
        self.waiting.append((request, done))

    def go_on(self):
        request, done = self.waiting.pop()
        done(request)

    def retire(self):
        self.is_retired = True


def test_links_end_when_the_last_request_has_left_them():
    first, second = Link(), Link()
    chain = EnricherChain([first, second])
    done = []
    chain.enrich(request(), "client", done.append)
    chain.retire()
    first.go_on()
    second.go_on()
    assert len(done) == 1
    assert first.is_retired
    assert second.is_retired
