"""Check that a partition's first reader after a reboot recovers it without waiting for a lock."""

from __future__ import annotations

import socket
import time

import orjson
import pytest
from running import DEADLINE_S, MODELS, Client, Decision, Load, held, is_preferred, write_decision

from rdv.stream.file.checkpoint import CHECKPOINT_BYTES, Checkpoint, pack_checkpoint

HOLD_S = 11.0
"""How long a test holds locks, in seconds: longer than `lock_timeout_ms`."""
BOOT = b"of another boot."
STREAMS = ("input", "scores", "results", "control", "outcomes")


def locks_of(directory, *streams):
    return [path for name in streams for path in (directory / name).glob("*/*/lock")]


def pretend_reboot(directory):
    """Mark every partition as last written in another boot, with nothing known to be synced."""
    for path in locks_of(directory, *STREAMS):
        checkpoint = pack_checkpoint(Checkpoint(BOOT, 0))
        assert len(checkpoint) == CHECKPOINT_BYTES
        path.write_bytes(checkpoint)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Serve a decision until each stream has records, and stop it."""
    directory = tmp_path_factory.mktemp("recovery") / "fraud"
    decision = Decision(directory, write_decision(directory))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred")
        with Client(decision.port) as client:
            client.post({"id": "x", "outcome": 1}, path="/v1/outcomes")
    finally:
        decision.close()
    return directory


def start(directory):
    return Decision(directory, int((directory / "rdv.toml").read_text().split()[3]))


def wait_for_port(decision):
    """Return the port of a starting proxy once it listens."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        assert decision.processes["proxy-0"].poll() is None, "the proxy has ended"
        try:
            socket.create_connection(("127.0.0.1", decision.port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return decision.port
    raise AssertionError("nothing listens")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_start_waits_for_no_lock_of(directory, stream):
    """The lock is held until the answers have arrived, so none of them has waited for it."""
    decision = start(directory)
    pretend_reboot(directory)
    try:
        with held(*locks_of(directory, stream)):
            decision.start("server", *MODELS, "proxy-0")
            with Load([wait_for_port(decision)]) as load:
                load.more(20)
                if stream in ("control", "outcomes"):
                    load.until(is_preferred, "preferred")
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred, once the lock is free")
        for process in decision.processes.values():
            assert process.poll() is None
    finally:
        decision.close()


def test_what_a_locked_topic_says_of_the_cohorts_is_not_taken_for_unsaid(directory):
    """The cohorts keep the time since when they are in force: `rdv ab` counts from there."""
    before = [orjson.loads(line) for _, line in start(directory).lines("control", ["cohorts"])]
    decision = start(directory)
    pretend_reboot(directory)
    try:
        with held(*locks_of(directory, "control")):
            decision.start("server", *MODELS, "proxy-0")
            with Client(wait_for_port(decision)) as client:
                client.post({"data": {}})
        decision.await_ready("server")
        end_s = time.monotonic() + DEADLINE_S
        while len(lines := decision.lines("control", ["cohorts"])) == len(before):
            assert time.monotonic() < end_s, "no line"
            time.sleep(0.05)
    finally:
        decision.close()
    assert {orjson.loads(line)["since_ns"] for _, line in lines} == {before[0]["since_ns"]}


def test_a_start_goes_on_while_every_lock_is_held_for_longer_than_any_timeout(directory):
    decision = start(directory)
    pretend_reboot(directory)
    try:
        with held(*locks_of(directory, *STREAMS)):
            held_s = time.monotonic()
            decision.start("server", *MODELS, "proxy-0")
            with Load([wait_for_port(decision)]) as load:
                while time.monotonic() < held_s + HOLD_S:
                    load.more(1)
            assert {a["kind"] for a in load.answers} == {"default"}
            assert not load.refusals
            for name, process in decision.processes.items():
                assert process.poll() is None, f"{name} has ended"
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred, once the locks are free")
    finally:
        decision.close()
