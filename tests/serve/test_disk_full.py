"""Check that a decision under load survives a full disk and records again once there is room."""

from __future__ import annotations

import os
import sys
import time

import orjson
import pytest
from running import DEADLINE_S, MODELS, Decision, Load, is_default, is_preferred, write_decision
from small_disk import SmallDisk, small_disk


class DecisionOnDisk(Decision):
    """Run a decision on a small disk, which its processes see at another path than the test."""

    def __init__(self, disk: SmallDisk) -> None:
        self.disk = disk
        directory = disk.outside / "fraud"
        super().__init__(directory, write_decision(directory))

    def command(self, name: str, arguments: list[str]) -> list[str]:
        words = [sys.executable, "-m", "rdv", *arguments]
        inside = str(self.disk.place / "fraud")
        return self.disk.command([inside if w == str(self.directory) else w for w in words])


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "small", "8m") as disk:
        if disk is None:
            pytest.skip("neither mounts nor user namespaces are allowed here")
        yield disk


def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 4096, 1):
            while True:
                try:
                    os.write(fd, b"x" * size)
                except OSError:
                    break
    finally:
        os.close(fd)


def test_every_request_is_answered_and_comes_on_record_when_there_is_room(disk):
    decision = DecisionOnDisk(disk)
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred")
            fill(disk.outside / "filler")
            load.until(is_default, "a default by the proxy")
            load.more(20)
            (disk.outside / "filler").unlink()
            load.until(is_preferred, "preferred again")
            # The answers that could not be recorded are recorded now.
            wanted = {a["id"] for a in load.answers if a["answered_by"] == "proxy"}
            end_s = time.monotonic() + DEADLINE_S
            while missing := wanted - decision.stories().keys():
                assert time.monotonic() < end_s, f"{len(missing)} of {len(wanted)} not recorded"
                load.more(5)
        assert not load.broken
        assert not load.refusals
        print(load.check(decision))
        assert all(process.poll() is None for process in decision.processes.values())
    finally:
        decision.close()
    for topic, value in decision_lines(decision.directory):
        orjson.loads(value), topic


def decision_lines(directory):
    """Yield the topic and value of every record of every stream."""
    from rdv.stream import open_stream

    for name in ("input", "scores", "results"):
        with open_stream(str(directory / name)) as stream, stream.consumer() as reader:
            while records := reader.poll(10_000):
                yield from ((record.topic, record.value) for record in records)
