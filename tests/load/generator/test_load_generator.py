"""Check the load generator against real servers on 127.0.0.1."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

import pytest

from rdv.http import HttpServer, Limits
from rdv.load.generator import Generator, LoadLimits, Tally, constant, render_request
from rdv.load.generator.arrivals import LoopPacer, make_pacer


class Bodies(Tally):
    def __init__(self):
        super().__init__()
        self.seen = {}
        self.latencies = {}
        self.services = {}

    def answered(self, number, status, latency_ns, service_ns, body):
        super().answered(number, status, latency_ns, service_ns, body)
        self.seen[number] = body
        self.latencies[number] = latency_ns
        self.services[number] = service_ns


def source(number):
    return render_request("POST", "/", "127.0.0.1", b"%d" % number)


def echo(request):
    request.respond(200, request.body)


async def served(application, limits=None):
    server = HttpServer(application, limits)
    return server, (await server.start("127.0.0.1", 0))[1]


def test_open_loop_sends_each_request_once_and_pairs_the_answers(run):
    async def scenario():
        server, port = await served(echo)
        sink = Bodies()
        generator = Generator("127.0.0.1", port, source, sink)
        await generator.run(constant(2000), 0.25)
        await server.close()
        return sink, generator

    sink, generator = run(scenario())
    assert sink.seen == {n: b"%d" % n for n in range(500)}
    assert sink.errors == 0
    assert (generator.sent, generator.in_flight, generator.queued) == (500, 0, 0)
    assert set(sink.measured()) >= {"p50", "p99.9", "mean", "max", "errors"}


def test_a_stall_is_charged_to_every_request_it_delayed(run):
    """On the one connection, the server holds the first request until all others are due."""

    async def scenario():
        held = []

        def application(request):
            if request.body != b"0":
                echo(request)
                return
            held.append(request)
            asyncio.get_running_loop().call_later(0.1, lambda: echo(request))

        server, port = await served(application)
        sink = Bodies()
        limits = LoadLimits(connections_max=1)
        await Generator("127.0.0.1", port, source, sink, limits).run(constant(200), 0.1)
        await server.close()
        return sink

    sink = run(scenario())
    assert len(sink.seen) == 20
    for number in range(1, 20):  # number n is due at 5n ms, not sent before 100 ms
        assert sink.latencies[number] >= (100 - 5 * number) * 1_000_000
        assert sink.services[number] < sink.latencies[number]


def test_closed_loop_keeps_its_connections_busy(run):
    async def scenario():
        server, port = await served(echo)
        sink = Bodies()
        await Generator("127.0.0.1", port, source, sink).run_closed(4, 0.1)
        opened = server.counters.connections_opened
        await server.close()
        return sink, opened

    sink, opened = run(scenario())
    assert opened == 4
    assert sink.errors == 0
    assert len(sink.seen) > 20


@pytest.mark.parametrize("closed", [False, True])
def test_a_port_without_a_server_is_reported(run, closed):
    async def scenario():
        server, port = await served(echo)
        await server.close()
        tally = Tally()
        generator = Generator("127.0.0.1", port, source, tally)
        await (generator.run_closed(2, 0.05) if closed else generator.run(constant(500), 0.05))
        return tally

    tally = run(scenario())
    assert tally.failures["connect"] == tally.requests >= 2
    assert tally.measured()["errors"] == 1.0


def test_no_answer_is_a_timeout(run):
    async def scenario():
        server, port = await served(lambda _: None)
        tally = Tally()
        limits = LoadLimits(timeout_ms=40)
        await Generator("127.0.0.1", port, source, tally, limits).run(constant(1000), 0.02)
        await server.close()
        return tally

    assert run(scenario()).failures == {"timeout": 20}


def test_a_full_queue_overflows(run):
    async def scenario():
        server, port = await served(lambda _: None)
        tally = Tally()
        limits = LoadLimits(connections_max=1, queue_max=5, timeout_ms=200)
        await Generator("127.0.0.1", port, source, tally, limits).run(constant(1000), 0.05)
        await server.close()
        return tally

    tally = run(scenario())
    assert tally.failures["overflow"] >= 40
    assert tally.requests == 50


def test_connections_that_the_server_closes_are_replaced(run):
    async def scenario():
        def once(request):
            request.respond(200, request.body)

        server, port = await served(once, Limits(keep_alive_ms=1))
        sink = Bodies()

        def closing(number):
            return source(number).replace(b"Host", b"Connection: close\r\nHost")

        await Generator("127.0.0.1", port, closing, sink).run(constant(500), 0.1)
        await server.close()
        return sink

    sink = run(scenario())
    assert len(sink.seen) == 50
    assert sink.errors == 0


@pytest.mark.parametrize(
    ("says", "reason"),
    [(b"\0garbage", "garbage"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "lost")],
)
def test_bad_answers(run, says, reason):
    async def scenario():
        async def bad(reader, writer):
            await reader.read(10)
            writer.write(says)
            writer.close()

        server = await asyncio.start_server(bad, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        tally = Tally()
        await Generator("127.0.0.1", port, source, tally).run(constant(500), 0.02)
        server.close()
        return tally

    assert run(scenario()).failures == {reason: 10}


def test_it_can_be_stopped(run):
    async def scenario():
        server, port = await served(echo)
        tally = Tally()
        generator = Generator("127.0.0.1", port, source, tally)
        asyncio.get_running_loop().call_later(0.05, generator.stop)
        await generator.run(constant(100), 3600)
        await server.close()
        return tally

    assert 1 <= run(scenario()).requests <= 6


@pytest.mark.parametrize("make", [make_pacer, LoopPacer])
def test_pacers_wake_once_and_not_early(run, make):
    async def scenario():
        woken = asyncio.Queue()
        pacer = make(lambda: woken.put_nowait(monotonic_ns()))
        for delay_ns in (5_000_000, 1, -1_000_000):
            due_ns = monotonic_ns() + delay_ns
            pacer.wake_at(due_ns + 10**12)  # replaced by the next call
            pacer.wake_at(due_ns)
            # The loop's own clock is rounded to milliseconds.
            assert await woken.get() >= due_ns - 1_500_000
        assert woken.empty()
        pacer.close()
        pacer.close()

    run(scenario())
