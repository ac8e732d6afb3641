"""Check that an idle server comes to rest."""

from __future__ import annotations

import select

import pytest

from rdv.clock import SYSTEM_CLOCK
from rdv.decision.streams import open_streams
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.schedule import schedule_from_object
from rdv.serve.process import Waker, host_name
from rdv.serve.server.server import Server
from rdv.stream import StreamConfig


@pytest.fixture(params=["file", "memory"])
def streams(request, tmp_path):
    root = str(tmp_path) if request.param == "file" else f"memory:{tmp_path.name}"
    with open_streams(root, StreamConfig(partitions=1)) as opened:
        yield opened


def rung(server):
    """Return the descriptors that are readable, for which a wait would return at once."""
    poll = select.poll()
    for feed in server.feeds:
        poll.register(feed.fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(0)}
    for feed in server.feeds:
        if feed.fd in ready:
            feed.notified()
    return ready


def test_an_idle_server_sleeps_after_any_notification(streams):
    schedule = schedule_from_object({"sla_ms": 50, "step": [{"accept": ["a"]}]}, "s")
    host, clock, waker = host_name(), SYSTEM_CLOCK, Waker()
    engine = Engine(host, {"s": schedule}, "s", ["a"])
    server = Server(streams, engine, [0], host=host, clock=clock, waker=waker, window_ms=1_000)
    try:
        with streams.scores.producer() as models:
            for round_ in range(3):
                for _ in range(10):
                    rung(server)
                    if not server.turn() and not rung(server):
                        break
                else:
                    raise AssertionError(f"no rest in round {round_}")
                models.send("a", b"a late score, or none at all\n", partition=0)
                server.feeds[0].consumer.poll_blocks(1, is_notified=False)  # asks for wake-ups
                models.send("a", b"another one\n", partition=0)
    finally:
        server.close()
