"""Check that several servers, and several instances of a model, share the partitions."""

from __future__ import annotations

import time
from collections import Counter
from zlib import crc32

import orjson
import pytest
from running import (
    DEADLINE_S,
    MODELS,
    SCHEDULE,
    Client,
    Decision,
    Load,
    is_default,
    is_preferred,
    write_decision,
)

from rdv.stream import open_stream

PARTITIONS = 4
CLIENTS = 8


def make(directory, *, servers=1, proxies=1, schedule=SCHEDULE):
    port = write_decision(directory, proxies=proxies, more=f"[server]\ninstances = {servers}")
    settings = directory / "rdv.toml"
    settings.write_text(f"partitions = {PARTITIONS}\n{settings.read_text()}")
    (directory / "schedules" / "production.toml").write_text(schedule)
    return Decision(directory, port)


def clients_of(server, servers):
    """Return the clients of `Load` whose key is in a partition of this server."""
    owners = {n: crc32(b"user-%d" % n) % PARTITIONS % servers for n in range(CLIENTS)}
    return {n for n, owner in owners.items() if owner == server}


def test_a_server_of_two_is_killed(tmp_path):
    """The proxies answer the requests of the killed server until it is back."""
    decision = make(tmp_path / "fraud", servers=2, proxies=2)
    hers, others = clients_of(1, 2), clients_of(0, 2)
    assert hers
    assert others
    try:
        decision.start("server-0", "server-1", *MODELS, "proxy-0", "proxy-1")
        decision.await_ready()
        with Load([decision.port, decision.port + 1], clients=CLIENTS) as load:
            for client in range(CLIENTS):
                load.until(lambda a, c=client: a["client"] == c and is_preferred(a), "preferred", 0)
            decision.kill("server-1")
            for client in hers:
                load.until(lambda a, c=client: a["client"] == c and is_default(a), "a default")
            for client in others:
                load.until(lambda a, c=client: a["client"] == c and is_preferred(a), "preferred")
            decision.restart("server-1")
            for client in hers:
                load.until(lambda a, c=client: a["client"] == c and is_preferred(a), "back")
        print(load.check(decision))
        assert not load.broken
        assert not load.refusals
        assert {answer["port"] for answer in load.answers} == {decision.port, decision.port + 1}
    finally:
        decision.close()


# A long SLA: a request whose worker is gone waits for the instance that takes over.
PATIENT = """
sla_ms = 30000
default = { score = 0.0, by = "default" }
[[step]]
accept = ["gbm"]
"""


def shares(decision):
    """Return how many partitions each live member of the champion's group has, sorted."""
    with open_stream(str(decision.directory / "input")) as stream:
        state = stream.group_state("gbm")
        gone = stream.absent_members("gbm")
        return sorted(len(state.held_by(name)) for name in state.members if name not in gone)


def until(load, is_so, what):
    """Wait until `is_so()` under load, and check it again after each answer."""
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s, what
        load.more(1)


def committed(decision):
    with open_stream(str(decision.directory / "input")) as stream:
        return stream.committed("gbm")


def ends(decision):
    with open_stream(str(decision.directory / "input")) as stream:
        (topic,) = stream.topics()
        return {n: stream.end(topic, n) for n in range(PARTITIONS)}


def reports_of_champion(decision):
    """Count the champion's reports on each request."""
    return Counter(orjson.loads(value)["id"] for _, value in decision.lines("scores", ["gbm"]))


def test_a_model_that_joins_says_nothing_about_what_was_due_before(tmp_path):
    decision = make(tmp_path / "fraud")
    try:
        decision.start("server-0", "mlp", "fast", "proxy-0")
        decision.await_ready()
        with Client(decision.port) as client:
            old = {client.post({"data": {}, "key": f"{n}"})[1]["id"] for n in range(40)}
            decision.restart("gbm")
            assert any(is_preferred(client.post({"data": {}})[1]) for _ in range(2_000))
        assert not old & decision.reports("gbm").keys()
        # The other models reported on all of them.
        assert decision.reports("mlp").keys() >= old
    finally:
        decision.close()


@pytest.mark.parametrize("count", [2, 3])
def test_instances_share_the_work_and_take_it_over(tmp_path, count):
    decision = make(tmp_path / "fraud", schedule=PATIENT)
    names = [f"gbm-{number}" for number in range(count)]
    even = sorted(len(range(number, PARTITIONS, count)) for number in range(count))
    fewer = sorted(len(range(number, PARTITIONS, count - 1)) for number in range(count - 1))
    try:
        decision.start("server-0", *names, "proxy-0")
        decision.await_ready()
        with Load([decision.port], clients=CLIENTS) as load:
            load.more(CLIENTS)
            until(load, lambda: shares(decision) == even, f"the shares are not {even}")
            before = len(load.answers)
            marks = ends(decision)
            until(
                load,
                lambda: all(n >= marks[p.partition] for p, n in committed(decision).items()),
                "not committed",
            )
            calm = {answer["id"] for answer in load.answers[:before]}
            decision.kill(names[0])
            for client in range(CLIENTS):
                load.until(lambda a, c=client: a["client"] == c, "of every client")
            until(load, lambda: shares(decision) == fewer, f"the shares are not {fewer}")
            decision.restart(names[0])
            until(load, lambda: shares(decision) == even, f"the shares are not {even} again")
            load.more(CLIENTS)
        print(load.check(decision, sla_ms=30_000))
        assert not load.broken
        assert not load.refusals
        found = reports_of_champion(decision)
        assert all(found[answer["id"]] >= 1 for answer in load.answers), "nothing is lost"
        assert {found[id_] for id_ in calm} == {1}, "before the kill: once"
    finally:
        decision.close()
