"""Check that greedy clients, and clients that leave, do not affect others."""

from __future__ import annotations

import contextlib

import pytest
from http_kit import Client, WebServer, post
from waiting import wait_until

from rdv.http import HttpServer, Limits, make_access

GREEDY, OTHER = "127.0.0.2", "127.0.0.1"


class Notes:
    """Record the requests of clients that have left or are ending, as an application hears it."""

    def __init__(self):
        self.gone_tokens, self.ending_tokens = [], set()

    def gone(self, request):
        self.gone_tokens.append(request.body)

    def ending(self, request):
        self.ending_tokens.add(request.body)


class NotedServer(WebServer):
    def __init__(self, kind="uvloop", limits=None, trusted=()):
        self.notes = Notes()
        self._trusted = trusted
        super().__init__(kind, limits)

    def make_server(self, application, limits):
        access = make_access(["*"], trusted=self._trusted)
        return HttpServer(application, limits, access, self.notes)


@pytest.fixture
def make_noted():
    servers = []

    def make(**options):
        servers.append(NotedServer(**options))
        return servers[-1]

    yield make
    for web in servers:
        web.stop()


@pytest.fixture
def crowd():
    with contextlib.ExitStack() as stack:

        def come(web, count, source=GREEDY, data=b""):
            clients = [stack.enter_context(Client(web.port, 4096, source)) for _ in range(count)]
            for client in clients:
                client.send(data)
            return clients

        yield come


def opened(web, count):
    wait_until(lambda: web.server.counters.connections_opened >= count)
    web.call(lambda: None)


LIMITS = Limits(connections_max=40, linger_ms=100)
SHARE = 20
"""The maximum number of connections of one client, while there is no other."""


@pytest.mark.parametrize("source", [GREEDY, OTHER])
def test_idle_connections_make_room_for_new_ones(make_noted, kind, crowd, source):
    """Idle connections may be silent or kept alive, and may all come from one address."""
    web = make_noted(kind=kind, limits=LIMITS)
    crowd(web, 15, source)
    kept = crowd(web, 15, source, post(b"kept"))
    assert [client.answer().body for client in kept[-5:]] == [b"kept"] * 5
    for _ in range(40):
        with Client(web.port, source=OTHER) as client:
            client.send(post(b"here"))
            assert client.answer().body == b"here"
    assert web.call(lambda: len(web.server._hub.connections)) <= LIMITS.connections_max


def test_the_connection_that_is_idle_for_longest_is_closed_first(make_noted, kind, crowd):
    web = make_noted(kind=kind, limits=LIMITS)
    clients = []
    for number in range(SHARE):
        clients += crowd(web, 1, data=post(b"%d" % number))
        assert clients[-1].answer().body == b"%d" % number
    clients[0].send(post(b"again"))
    assert clients[0].answer().body == b"again"
    crowd(web, 2, data=post(b"new"))
    assert clients[1].ends()
    assert clients[2].ends()
    for client in (clients[0], *clients[3:]):
        client.send(post(b"still"))
        assert client.answer().body == b"still"


def test_busy_connections_stay_open_and_the_client_with_most_is_refused(make_noted, kind, crowd):
    web = make_noted(kind=kind, limits=LIMITS)
    busy = crowd(web, SHARE, data=post(b"busy", b"/later"))
    held = [web.later() for _ in busy]
    (refused,) = crowd(web, 1, data=post())
    assert refused.answer().code == "too_many_connections"
    (other,) = crowd(web, 1, OTHER, post(b"other"))
    assert other.answer().body == b"other"
    for request in held:
        web.call(request.respond, 200, b"done")
    assert [client.answer().body for client in busy] == [b"done"] * SHARE


@pytest.mark.parametrize("how", ["head", "body", "reads nothing", "half-closed"])
def test_a_client_that_keeps_the_server_waiting_gives_way_to_others(make_noted, kind, crowd, how):
    """All places are taken by connections that are not idle; a new client still gets one."""
    web = make_noted(kind=kind, limits=LIMITS)
    data = {
        "head": b"POST /echo HT",
        "body": post(b"abc")[:-1],
        "reads nothing": b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n" * 8,
        "half-closed": post(b"waits", b"/later"),
    }[how]
    slow = crowd(web, SHARE, data=data)
    if how == "half-closed":
        for client in slow:
            client.half_close()
    for number, count in enumerate((10, 5, 3, 1, 1)):
        crowd(web, count, f"127.0.0.{number + 3}", post(b"x", b"/later"))
    opened(web, LIMITS.connections_max)
    if how == "half-closed":
        wait_until(lambda: web.call(lambda: web.notes.ending_tokens) == {b"waits"})
        wait_until(lambda: web.call(_count, web, "_ending") == SHARE)
    elif how == "reads nothing":
        wait_until(lambda: web.call(_stalled, web) == SHARE)
    else:
        wait_until(lambda: web.call(_partial, web) == SHARE)
    (other,) = crowd(web, 1, OTHER, post(b"other"))
    assert other.answer().body == b"other"
    assert web.server.counters.connections_evicted == 1


def _count(web, name):
    return sum(getattr(c, name) for c in web.server._hub.connections)


def _stalled(web):
    return sum(c._timeouts.stalled_ns != 0 for c in web.server._hub.connections)


def _partial(web):
    return sum(c._reader.more for c in web.server._hub.connections)


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("depth", [3, 64, 65, 1_000])
def test_that_a_client_leaves_is_noticed_though_nothing_is_read_from_it(
    make_noted, kind, leave, depth
):
    web = make_noted(kind=kind)
    client = Client(web.port)
    client.send(b"".join(post(b"%d" % n, b"/later") for n in range(depth)))
    held = [web.later() for _ in range(min(64, depth))]
    wanted = {b"%d" % n for n in range(len(held))}
    if leave == "reset":
        client.reset()
        wait_until(lambda: set(web.call(lambda: web.notes.gone_tokens)) == wanted)
        wait_until(lambda: not web.server.connections_open)
        assert not any(request.connected for request in held)
    else:
        client.socket.close()
        wait_until(lambda: web.call(lambda: web.notes.ending_tokens) == wanted)
        web.call(held[0].respond, 200, b"nobody reads this")
        wait_until(lambda: wanted - {b"0"} <= set(web.call(lambda: web.notes.gone_tokens)))


def test_a_half_closed_client_is_not_gone(make_noted, kind):
    web = make_noted(kind=kind)
    with web.client() as client:
        client.send(b"".join(post(b"%d" % n, b"/later") for n in range(200)))
        client.half_close()
        for number in range(200):
            request = web.later()
            assert request.connected
            web.call(request.respond, 200, request.body)
            assert client.answer().body == b"%d" % number
        assert client.ends()
    assert web.notes.gone_tokens == []


def test_a_forgotten_request_and_those_behind_it_are_gone(make_noted, kind):
    web = make_noted(kind=kind, limits=Limits(answer_timeout_ms=30))
    with web.client() as client:
        client.send(b"".join(post(b"%d" % n, b"/later") for n in range(3)))
        assert client.answer().status == 503
        assert client.ends()
    assert web.notes.gone_tokens == [b"0", b"1", b"2"]


def test_bytes_of_incomplete_requests_are_bounded_for_each_and_all(make_noted, kind, crowd):
    limits = Limits(partial_bytes_max=1_000_000, linger_ms=100)
    web = make_noted(kind=kind, limits=limits)
    part = post(b"x" * 500_000)[:200_000]
    slow = crowd(web, 5, data=part)
    wait_until(lambda: web.server.counters.refusals >= 1)
    assert any(client.answer().code == "too_many_bytes" for client in slow[-1:])
    (other,) = crowd(web, 1, OTHER, post(b"y" * 90_000)[:-1])
    other.send(b"z")
    assert len(other.answer().body) == 90_000
    for client in slow[:-1]:
        client.socket.close()
    wait_until(lambda: not web.call(lambda: web.server._hub.partial.taken))


def test_other_limits_count_for_the_next_connection(make_noted, kind, crowd):
    web = make_noted(kind=kind, limits=Limits(connections_max=20))
    busy = crowd(web, 10, data=post(b"busy", b"/later"))
    held = [web.later() for _ in busy]
    web.call(web.server.change_limits, Limits(connections_max=10, partial_bytes_max=65_536))
    (refused,) = crowd(web, 1, OTHER, post())
    assert refused.answer().code == "too_many_connections"
    assert web.call(lambda: web.server._hub.partial.limit) == 65_536
    web.call(web.server.change_limits, Limits(connections_max=20, client_share=0.5))
    (refused,) = crowd(web, 1, data=post())
    assert refused.answer().code == "too_many_connections"
    (other,) = crowd(web, 1, OTHER, post(b"other"))
    assert other.answer().body == b"other"
    for request in held:
        web.call(request.respond, 200, b"done")


def forwarded(value, name=b"X-Forwarded-For"):
    return post(b"", b"/later", b"%b: %b\r\n" % (name, value))


@pytest.mark.parametrize(
    ("head", "client"),
    [
        (forwarded(b"192.0.2.1"), "192.0.2.1"),
        (forwarded(b"1.1.1.1, 192.0.2.1"), "192.0.2.1"),
        (forwarded(b"192.0.2.1:4711, 10.1.2.3 , 127.0.0.1"), "192.0.2.1"),
        (forwarded(b"10.1.2.3"), "10.1.2.3"),
        (forwarded(b"2001:db8:1:2:3::4"), "2001:db8:1:2::/64"),
        (forwarded(b"[2001:db8:1:2::9]:80"), "2001:db8:1:2::/64"),
        (forwarded(b"::ffff:192.0.2.1"), "192.0.2.1"),
        (forwarded(b"for=192.0.2.1;proto=http", b"Forwarded"), "192.0.2.1"),
        (forwarded(b'For="[2001:db8:1:2::9]:80"', b"Forwarded"), "2001:db8:1:2::/64"),
        (forwarded(b"for=1.1.1.1, by=x;for=192.0.2.1", b"Forwarded"), "192.0.2.1"),
        (forwarded(b"unknown"), "127.0.0.1"),
        (forwarded(b"192.0.2.1, unknown"), "127.0.0.1"),
        (forwarded(b"192.0.2.1,"), "127.0.0.1"),
        (forwarded(b"for=_hidden", b"Forwarded"), "127.0.0.1"),
        (forwarded(b'for="192.0.2.1', b"Forwarded"), "127.0.0.1"),
        (forwarded(b"for=192.0.2.1\r\nX-Forwarded-For: 1.1.1.1", b"Forwarded"), "127.0.0.1"),
        (forwarded(b"for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1", b"Forwarded"), "192.0.2.1"),
        (forwarded(b"1.1.1.1\r\nX-Forwarded-For: 192.0.2.1"), "192.0.2.1"),
    ],
)
def test_only_a_trusted_proxy_may_name_the_client(make_noted, head, client):
    web = make_noted(trusted=["127.0.0.1", "10.0.0.0/8"])
    with Client(web.port, source="127.0.0.1") as trusted, Client(web.port, source=GREEDY) as not_:
        trusted.send(head)
        assert web.call(lambda request: request.client, web.later()) == client
        not_.send(head)
        assert web.call(lambda request: request.client, web.later()) == GREEDY


@pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
def test_a_program_may_answer_when_it_hears_that_the_client_sends_nothing_more(make_noted, kind):
    """So a proxy does that has set aside as many requests as it may: no answer is lost."""
    noted = make_noted(kind=kind)
    noted.notes.ending = lambda request: request.respond(200, request.body)
    with noted.client() as client:
        client.send(b"".join(post(body, b"/later") for body in (b"1", b"2", b"3")))
        for _ in range(3):
            noted.later()
        client.half_close()
        assert [client.answer().body for _ in range(3)] == [b"1", b"2", b"3"]
        assert client.ends()
    assert noted.errors == []


@pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
@pytest.mark.parametrize("how", ["end of the client's bytes", "drain", "eviction", "idle"])
def test_answers_that_wait_for_the_end_of_a_turn_are_sent_before_a_close(make_noted, kind, how):
    """The end may come in the same turn of the loop as the answers, and before they are written."""
    noted = make_noted(kind=kind)
    with noted.client() as client:
        client.send(post(b"1", b"/later") + post(b"2", b"/later"))
        requests = [noted.later(), noted.later()]

        def answer_and_end():
            (connection,) = noted.server._hub.connections
            for request in requests:
                request.respond(200, request.body)
            if how == "end of the client's bytes":
                connection.eof_received()
            elif how == "drain":
                connection.drain()
            elif how == "eviction":
                connection.give_way()
            else:
                connection.idle_out()

        noted.call(answer_and_end)
        assert [client.answer().body for _ in range(2)] == [b"1", b"2"]
        client.half_close()
        assert client.ends()
    assert noted.errors == []
