"""A greedy client takes all the connections and requests in flight that it can get, and leaves.

It connects from an address of its own, so that the proxies can tell it from the drill's other
clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterable

import orjson

from rdv.drill.copying import CONNECTIONS_MAX, HOST
from rdv.loadgen import render_request

ADDRESS = "127.6.6.6"
"""The greedy client's address. Linux assigns all of 127.0.0.0/8 to the loopback device; on other
systems the address must be configured first.
"""
PIPELINES, PIPELINED = 40, 60
_FILES_MAX = 8_192


def can_be_greedy() -> bool:
    """Return whether a client can have an address of its own on this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, 0))
        except OSError:
            return False
    return True


@contextlib.asynccontextmanager
async def greedy_client(ports: Iterable[int], sla_ms: float) -> AsyncIterator[str]:
    """Keep a greedy client at each proxy for the block, then abort all its connections; yields a
    note.

    `sla_ms` is the time that its requests wait for a model that does not exist.
    """
    _allow_files()
    inline = {"sla_ms": sla_ms, "default": None, "step": [{"accept": ["no-such-model"]}]}
    body = orjson.dumps({"data": {}, "schedule": inline})
    transports: list[asyncio.Transport] = []
    try:
        asked = 0
        for port in ports:
            pipeline = render_request("POST", "/v1/decide", f"{HOST}:{port}", body) * PIPELINED
            for number in range(CONNECTIONS_MAX):
                transport = await _connect(port)
                if transport is None:
                    continue
                transports.append(transport)
                if number < PIPELINES:
                    transport.write(pipeline)
                    asked += PIPELINED
        yield f"{len(transports):,} connections, {asked:,} requests of {sla_ms:g} ms by one client"
    finally:
        for transport in transports:
            transport.abort()


async def _connect(port: int) -> asyncio.Transport | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(1):
            transport, _ = await loop.create_connection(
                asyncio.Protocol, HOST, port, local_addr=(ADDRESS, 0)
            )
    except (OSError, TimeoutError):
        return None
    return transport


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
