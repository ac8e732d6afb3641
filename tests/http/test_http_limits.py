"""Check the limits for slow, greedy and too many clients, and the end of the server."""

from __future__ import annotations

import asyncio
import threading

import pytest
from http_kit import post
from waiting import wait_until

from rdv.http import HttpServer, InvalidLimit, Limits, Router, ServerStarted


@pytest.mark.parametrize(("data", "part"), [(b"GET /get HT", "head"), (post(b"abc")[:-1], "body")])
def test_a_slow_client_gets_408(make_web, kind, data, part):
    web = make_web(kind=kind, limits=Limits(client_timeout_ms=30, linger_ms=50))
    with web.client() as client:
        client.send(post(b"good"))
        assert client.answer().status == 200
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert b'"part":"%b"' % part.encode() in answer.body
        assert client.ends()
    assert web.server.counters.timeouts == 1


def test_a_silent_connection_is_closed(make_web, kind):
    web = make_web(kind=kind, limits=Limits(client_timeout_ms=30))
    with web.client() as client:
        assert client.ends()


def test_an_idle_connection_is_closed(make_web, kind):
    web = make_web(kind=kind, limits=Limits(keep_alive_ms=30))
    with web.client() as client:
        client.send(post())
        assert client.answer().status == 200
        assert client.ends()


def test_a_forgotten_request_is_answered_503(make_web, kind):
    web = make_web(kind=kind, limits=Limits(answer_timeout_ms=30))
    with web.client() as client:
        client.send(post(b"", b"/later"))
        request = web.later()
        answer = client.answer()
        assert (answer.status, answer.code) == (503, "not_answered")
        assert client.ends()
    web.call(request.respond, 200, b"too late, harmless")


def test_a_connection_that_waits_for_an_answer_is_not_idle(make_web, kind):
    web = make_web(kind=kind, limits=Limits(keep_alive_ms=20, client_timeout_ms=20))
    with web.client() as client, web.client() as other:
        client.send(post(b"", b"/later"))
        request = web.later()
        assert other.ends()  # by now more than 20 ms have passed
        web.call(request.respond, 200, b"here")
        assert client.answer().body == b"here"


class Stall:
    """Run a server that /stall blocks, in an iteration of its loop that has polled for input."""

    def __init__(self, make_web, kind):
        self.began, self.may_end = threading.Event(), threading.Event()
        self.before = lambda: None
        echo = {"POST": lambda request: request.respond(200, request.body)}
        application = Router({"/echo": echo, "/stall": {"POST": self.stall}})
        self.web = make_web(kind=kind, limits=Limits(keep_alive_ms=200), application=application)

    def stall(self, request):
        self.before()
        self.began.set()
        self.may_end.wait(10)
        request.respond(200, b"stalled")

    def begin(self, client, other):
        """Let `client` get an answer, then send again while `other` blocks the server."""
        client.send(post(b"first"))
        assert client.answer().body == b"first"
        other.send(post(b"", b"/stall"))
        assert self.began.wait(10)
        client.send(post(b"second"))


def test_a_request_that_has_come_is_not_met_with_the_idle_close(make_web, kind):
    """When the blocked process goes on, the idle timer is due and the request has arrived."""
    stall = Stall(make_web, kind)
    with stall.web.client() as client, stall.web.client() as other:
        stall.begin(client, other)
        threading.Event().wait(0.3)  # beyond the idle time
        stall.may_end.set()
        assert client.answer().body == b"second"
        assert client.ends()


def test_a_request_that_has_come_is_answered_though_the_server_drains(make_web, kind):
    stall, draining = Stall(make_web, kind), []
    web = stall.web
    stall.before = lambda: draining.append(web.loop.create_task(web.server.drain(5.0)))
    with web.client() as client, web.client() as other:
        stall.begin(client, other)
        stall.may_end.set()
        answer = client.answer()
        assert (answer.body, answer.headers[b"connection"]) == (b"second", b"close")
        assert client.ends()
        assert other.answer().body == b"stalled"
        wait_until(lambda: web.call(draining[0].done))
        assert draining[0].result() == 0


def test_no_more_than_the_pipeline_waits_for_answers(make_web, kind):
    web = make_web(kind=kind, limits=Limits(pipeline_max=4))
    with web.client() as client:
        client.send(b"".join(post(b"%d" % n, b"/later") for n in range(50)))
        for start in range(0, 50, 4):
            held = [web.later() for _ in range(min(4, 50 - start))]
            assert web.held.empty()
            for request in held:
                web.call(request.respond, 200, request.body)
        assert [client.answer().body for _ in range(50)] == [b"%d" % n for n in range(50)]


def test_a_client_that_never_reads_is_cut_off(make_web, kind):
    limits = Limits(write_timeout_ms=50, write_buffer_bytes_max=100_000_000, pipeline_max=2)
    web = make_web(kind=kind, limits=limits)
    with web.client(receive_buffer=4096) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n" * 100)
        wait_until(lambda: web.server.counters.connections_aborted == 1)
    # All requests could be read at once; the server reads no more than the sockets can take
    # answers for.
    assert web.server.counters.requests < 30


def test_a_client_with_too_many_unread_bytes_is_disconnected(make_web, kind):
    limits = Limits(write_timeout_ms=60_000, write_buffer_bytes_max=100_000)
    web = make_web(kind=kind, limits=limits)
    with web.client(receive_buffer=4096) as client:
        client.send(post(b"", b"/later") * 30)
        for _ in range(30):
            web.call(web.later().respond, 200, b"x" * 1_000_000)
        wait_until(lambda: web.server.counters.connections_aborted == 1)


def test_a_flood_of_tiny_requests_with_half_a_one_at_the_end(make_web, kind):
    """One read serves many iterations, and the end of input comes before the last of them."""
    web = make_web(kind=kind, limits=Limits(pipeline_max=3))
    with web.client() as client:
        client.send(post(b"x") * 1000 + b"GET /")
        client.half_close()
        assert [client.answer().body for _ in range(1000)] == [b"x"] * 1000
        assert client.answer().code == "truncated_request"
        assert client.ends()


def test_a_slow_reader_gets_all_of_it(make_web, kind):
    web = make_web(kind=kind)
    with web.client(receive_buffer=4096) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n" * 3)
        assert [len(client.answer().body) for _ in range(3)] == [1_000_000] * 3


def test_connections_beyond_the_limit_get_503(make_web, kind):
    limits = Limits(connections_max=2, client_share=1, refusals_max=1, linger_ms=50)
    web = make_web(kind=kind, limits=limits)
    with web.client() as one, web.client() as two:
        for client in (one, two):
            client.send(post(b"", b"/later"))
        held = [web.later(), web.later()]
        with web.client() as three:
            answer = three.answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            with web.client() as four:
                assert four.ends()  # without an answer
            three.half_close()
            assert three.ends()
        for request in held:
            web.call(request.respond, 200, b"later")
        assert [one.answer().body, two.answer().body] == [b"later", b"later"]
    hub = web.server._hub
    wait_until(lambda: not web.call(lambda: len(hub.connections) + len(hub.refused)))
    assert web.ask(post()).status == 200
    assert web.server.counters.connections_refused == 2


def test_drain_answers_what_is_in_flight(make_web, kind):
    web = make_web(kind=kind)
    with web.client() as idle, web.client() as busy, web.client() as sending:
        for client in (idle, busy, sending):
            client.send(post())
            assert client.answer().status == 200
        busy.send(post(b"", b"/later") * 2)
        held = [web.later() for _ in range(2)]
        sending.send(post(b"abc")[:-1])
        wait_until(lambda: web.call(_one_is_sending, web))
        draining = _start(web, web.server.drain(5.0))
        assert idle.ends()
        sending.send(b"c")
        answer = sending.answer()
        assert (answer.body, answer.headers[b"connection"]) == (b"abc", b"close")
        assert sending.ends()
        with pytest.raises(ConnectionRefusedError):
            web.client()
        for request in held:
            web.call(request.respond, 200, b"done")
        first, second = busy.answer(), busy.answer()
        assert b"connection" not in first.headers
        assert second.headers[b"connection"] == b"close"
        assert busy.ends()
        assert draining.result(5) == 0


def test_drain_cuts_off_at_its_deadline(make_web, kind):
    web = make_web(kind=kind)
    with web.client() as client:
        client.send(post(b"", b"/later"))
        web.later()
        assert web.run(web.server.drain(0.02)) == 1
        assert client.ends()


def test_two_servers_share_a_port(make_web):
    web = make_web()
    other = HttpServer(lambda request: request.respond(200))

    async def share():
        _, port = await first.start("127.0.0.1", 0, reuse_port=True)
        await other.start("127.0.0.1", port, reuse_port=True)
        await first.close()
        await other.close()

    first = HttpServer(lambda request: request.respond(200))
    web.run(share())
    with pytest.raises(ServerStarted):
        web.run(first.start("127.0.0.1", 0))


@pytest.mark.parametrize("bad", [-1, 0, True, "1", 1.5])
def test_limits_are_checked(bad):
    with pytest.raises(InvalidLimit, match="pipeline_max"):
        Limits(pipeline_max=bad)


def _one_is_sending(web):
    return any(c._reader.in_body for c in web.server._hub.connections)


def _start(web, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, web.loop)
