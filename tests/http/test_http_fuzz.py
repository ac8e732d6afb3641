"""Check that thousands of broken requests cause no crash and no leak.

The next valid request is answered.
"""

from __future__ import annotations

import gc
import os
import random
import sys

import pytest
from http_kit import Client, WebServer, post

from rdv.http import Limits
from rdv.http.connection import Connection
from rdv.http.request import Request

SEEDS = [
    post(b'{"data": 1}'),
    b"GET /get?x=1 HTTP/1.1\r\nHost: t\r\nAccept: */*\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    post(b"abc", extra=b"Expect: 100-continue\r\n"),
    post(b"abc", extra=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
]
WORDS = [
    b"\r\n",
    b"\0",
    b"\r\n\r\n",
    b"Content-Length: 9\r\n",
    b"HTTP/1.1",
    b":",
    b" ",
    b"\xff" * 9,
]
REQUESTS = int(os.environ.get("RDV_FUZZ_REQUESTS", "9000"))
PER_CONNECTION = 2


def broken(chance):
    data = bytearray(chance.choice(SEEDS))
    match chance.randrange(7):
        case 0:
            for _ in range(chance.randint(1, 5)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[chance.randrange(len(data)) :]
        case 2:
            at = chance.randrange(len(data))
            data[at:at] = chance.choice(WORDS)
        case 3:
            data = bytearray(chance.randbytes(chance.randint(1, 300)))
        case 4:
            data[-2:] = b"X: " + b"y" * chance.randint(1, 40_000) + b"\r\n\r\n"
        case 5:
            a, b = sorted(chance.randrange(len(data)) for _ in range(2))
            data[a:b] = data[a:b] * chance.randint(0, 9)
        case _:
            pass
    return bytes(data)


def torment(port, chance):
    """Send broken requests in random slices on one connection; end it in a random way."""
    with Client(port) as client:
        whole = b"".join(broken(chance) for _ in range(PER_CONNECTION))
        try:
            while whole:
                cut = chance.choice((1, 10, 100, len(whole)))
                client.send(whole[:cut])
                whole = whole[cut:]
            if chance.random() < 0.8:
                client.half_close()
                while client.more():
                    assert len(client.buffer) < 1_000_000
        except TimeoutError:
            raise
        except OSError:
            pass  # the server has closed its end: reset, broken pipe, not connected
        if chance.random() < 0.1:
            client.reset()


@pytest.mark.timeout(60)
def test_broken_requests_cause_no_crash_and_no_leak():
    web = WebServer(limits=Limits(client_timeout_ms=500, linger_ms=200, header_bytes_max=16_384))
    try:
        for round_ in range(3):
            chance = random.Random(round_)
            for _ in range(REQUESTS // PER_CONNECTION // 3):
                torment(web.port, chance)
            assert web.ask(post(b"still here")).body == b"still here"
            while web.server.connections_open:  # until the test times out
                web.call(lambda: None)
            if round_ == 0:
                before = _held(web)
        after = _held(web)
        assert after["fds"] <= before["fds"]
        assert after["connections"] == 0
        assert after["requests"] == 0
        assert after["blocks"] < before["blocks"] * 1.02 + 5_000
        assert not web.errors
        counters = web.server.counters
        assert counters.refusals > REQUESTS // 4
        # The server does not read what follows a refusal on its connection: count what it read.
        assert counters.requests + counters.refusals > REQUESTS // 2
    finally:
        web.stop()


def _held(web):
    web.call(lambda: None)
    gc.collect()
    everything = gc.get_objects()
    return {
        "fds": len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0,
        "connections": sum(isinstance(one, Connection) for one in everything),
        "requests": sum(isinstance(one, Request) for one in everything),
        "blocks": sys.getallocatedblocks(),
    }
