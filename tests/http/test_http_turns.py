"""Check that one client's requests do not delay those of another, however many it sends."""

from __future__ import annotations

import contextlib
import threading

import pytest
from http_kit import DEADLINE_S, Client, WebServer, post

from rdv.http import HttpServer, Limits, make_access

GREEDY, OTHER = "127.0.0.2", "127.0.0.1"


class OrderedServer(WebServer):
    """Record whose requests are served; the first one waits until all have been sent."""

    def __init__(self, kind, trusted=()):
        self.served, self.goes_on, self.has_begun = [], threading.Event(), threading.Event()
        self._trusted = trusted
        super().__init__(kind, Limits(), self.serve)

    def make_server(self, application, limits):
        return HttpServer(application, limits, make_access(["*"], trusted=self._trusted))

    def serve(self, request):
        self.has_begun.set()
        self.goes_on.wait(DEADLINE_S)
        self.served.append(request.client)
        request.respond(200, b"1")


@pytest.fixture
def send():
    """Return a function that sends blobs as clients, and returns whose turn it was, in order."""
    with contextlib.ExitStack() as stack:

        def run(kind, sent, **options):
            web = OrderedServer(kind, **options)
            stack.callback(web.stop)
            stack.callback(web.goes_on.set)
            clients = [stack.enter_context(Client(web.port, source=who)) for who, _, _ in sent]
            web.call(lambda: None)
            for client, (_, blob, _) in zip(clients, sent, strict=True):
                client.send(blob)
                assert web.has_begun.wait(DEADLINE_S)
            web.goes_on.set()
            for client, (_, _, count) in zip(clients, sent, strict=True):
                for _ in range(count):
                    assert client.answer().status == 200
            return web.served

        yield run


@pytest.mark.parametrize(
    ("connections", "size", "total"), [(1, 1, 8_000), (40, 1, 8_000), (40, 600, 16_000)]
)
def test_a_request_does_not_wait_for_those_of_another_client(send, kind, connections, size, total):
    count = total // connections
    flood = (GREEDY, post(b"x" * size) * count, count)
    served = send(kind, [*[flood] * connections, (OTHER, post(), 1)])
    assert served.index(OTHER) < total / 4
    assert len(served) == total + 1


def test_clients_with_many_requests_are_served_by_turns(send, kind):
    flood = [(who, post() * 100, 100) for who in ("127.0.0.2", "127.0.0.3") for _ in range(10)]
    served = send(kind, flood)
    middle = served[500:1_500]
    assert 200 < middle.count("127.0.0.2") < 800


def test_connections_of_a_trusted_proxy_do_not_share_one_turn(send, kind):
    flood = [(GREEDY, post(extra=b"X-Forwarded-For: 10.0.0.%d\r\n" % n) * 60, 60) for n in range(9)]
    served = send(kind, flood, trusted=[GREEDY])
    assert len(set(served)) == 9
    assert len(served) == 9 * 60


def test_what_waits_for_its_turn_is_not_read(make_web, kind):
    """A client that sends faster than it is served fills the sockets, not the memory."""
    web = make_web(kind=kind, limits=Limits(partial_bytes_max=600_000))
    blob, count = post() * 500, 60
    with web.client() as client:
        sender = threading.Thread(target=lambda: [client.send(blob) for _ in range(count)])
        sender.start()
        for _ in range(500 * count):
            assert client.answer().status == 200
        sender.join()
    assert web.server.counters.refusals == 0
