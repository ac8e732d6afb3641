"""Check that features from outside are given up before they are in memory, however they come."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.serve.proxy.features import (
    FEATURES_BYTES_MAX,
    REPLY_BYTES_MAX,
    HttpLookup,
    RedisLookup,
    UnusableFeatures,
)

ENDLESS = 200 * 1024 * 1024
PIECE = b"x" * 65536
SENT_MAX = 16 * 1024 * 1024
"""More than the buffers of both sides hold."""


class Server:
    """Sends `head` and then up to ENDLESS bytes; counts what was taken."""

    def __init__(self, head: bytes, piece: bytes, *, is_redis: bool) -> None:
        self.head, self.piece, self.is_redis = head, piece, is_redis
        self.sent = 0
        self.heads: list[bytes] = []

    async def __call__(self, reader, writer):
        try:
            while data := await reader.read(65536):
                self.heads.append(data)
                if self.is_redis and b"HMGET" not in data and b"HGETALL" not in data:
                    # Greetings of the client, any number of them at once.
                    writer.write(b"+OK\r\n" * data.count(b"*"))
                    continue
                writer.write(self.head)
                while self.sent < ENDLESS and self.piece:
                    writer.write(self.piece)
                    await writer.drain()
                    self.sent += len(self.piece)
        except OSError:
            pass
        finally:
            writer.close()


def look_up(server: Server, make):
    """Return what a lookup says, of a server on this machine."""

    async def run():
        listener = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        lookup = make(port)
        try:
            async with asyncio.timeout(60):
                return await lookup.get("k")
        finally:
            await lookup.close()
            listener.close()

    return asyncio.run(run())


def redis(fields=()):
    settings = RedisFeatures(url="redis://x", fields=list(fields))
    return lambda port: RedisLookup(settings, f"redis://127.0.0.1:{port}?protocol=2")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"*1\r\n$%d\r\n" % ENDLESS, PIECE),
        (b"*1\r\n$%d\r\n" % (REPLY_BYTES_MAX + 1), b""),
        (b"*1000000\r\n", b"$1\r\na\r\n" * 9000),
        (b"*1000000\r\n", b":1\r\n" * 9000),
    ],
    ids=["a value", "a value that is only announced", "many values", "many numbers"],
)
def test_redis(head, piece):
    server = Server(head, piece, is_redis=True)
    with pytest.raises(UnusableFeatures, match="more than 262,144 bytes"):
        look_up(server, redis(["a"]))
    assert server.sent < SENT_MAX


def test_redis_within_the_limit():
    value = b"7" * (FEATURES_BYTES_MAX - 100)
    reply = b"*2\r\n$%d\r\n%b\r\n$-1\r\n" % (len(value), value)
    found = look_up(Server(reply, b"", is_redis=True), redis(["a", "b"]))
    assert len(found) > len(value)


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_http(coding):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % ENDLESS
    head += b"Content-Encoding: %b\r\n\r\n" % coding.encode() if coding else b"\r\n"
    piece = gzip.compress(b"\0" * 50_000_000, mtime=0) if coding else PIECE
    server = Server(head, piece, is_redis=False)
    settings = HttpFeatures(url="http://x/{key}")
    with pytest.raises(UnusableFeatures, match="more than 262,144 bytes"):
        look_up(
            server,
            lambda port: HttpLookup(
                HttpFeatures(url=settings.url.replace("x", f"127.0.0.1:{port}")), ""
            ),
        )
    assert server.sent < SENT_MAX
    assert b"accept-encoding: identity" in server.heads[0].lower()
