"""Check that no component ends because of missing or damaged files: it reports what is lost.

The tests apply every kind of damage to every stream that a component reads, while it runs and
before it starts, with the real components over real files.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from pathlib import Path

import msgspec
import orjson
import pytest

from rdv.clock import SYSTEM_CLOCK
from rdv.decision import load_decision
from rdv.decision.streams import open_streams
from rdv.errors import RdvError
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import (
    Request,
    Result,
    Score,
    encode_request,
    encode_result,
    encode_score,
)
from rdv.rendezvous.schedule import schedule_from_object
from rdv.serve.batches import RESULTS
from rdv.serve.feeds import Feed, Losses
from rdv.serve.process import Waker, host_name
from rdv.serve.server.server import Server
from rdv.serve.supervisor.control import Control
from rdv.serve.supervisor.demand import Demand
from rdv.serve.worker.requests import RequestReader
from rdv.stream import StreamConfig

CONFIG = StreamConfig(partitions=1, segment_bytes=4096)
SCHEDULE = schedule_from_object(
    {"sla_ms": 60_000, "default": 0, "step": [{"accept": ["gbm"]}]}, "s"
)
HOST = host_name()
RECORDS = 120


def files(partition: Path, suffix: str) -> list[Path]:
    return sorted(partition.glob(f"*{suffix}"))


def lose_values(which):
    def damage(partition: Path) -> None:
        files(partition, ".jsonl")[which].unlink()

    return damage


def lose_index(which):
    def damage(partition: Path) -> None:
        files(partition, ".index")[which].unlink()

    return damage


def cut(suffix, which, share):
    def damage(partition: Path) -> None:
        path = files(partition, suffix)[which]
        os.truncate(path, int(path.stat().st_size * share))

    return damage


def flip(suffix, which):
    def damage(partition: Path) -> None:
        path = files(partition, suffix)[which]
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 4] = bytes(byte ^ 0xFF for byte in data[middle : middle + 4])
        path.write_bytes(data)

    return damage


def lose_middle_segment(partition: Path) -> None:
    files(partition, ".index")[1].unlink()
    files(partition, ".jsonl")[1].unlink()


def lose_all_segments(partition: Path) -> None:
    for suffix in (".index", ".jsonl"):
        for path in files(partition, suffix):
            path.unlink()


DAMAGES = {
    "first values": lose_values(0),
    "middle values": lose_values(1),
    "last values": lose_values(-1),
    "first index": lose_index(0),
    "middle index": lose_index(1),
    "last index": lose_index(-1),
    "middle segment": lose_middle_segment,
    "all segments": lose_all_segments,
    "cut values": cut(".jsonl", -1, 0.5),
    "cut middle values": cut(".jsonl", 1, 0.5),
    "cut index": cut(".index", -1, 0.5),
    "cut middle index": cut(".index", 1, 0.5),
    "empty index": cut(".index", -1, 0),
    "flipped values": flip(".jsonl", 1),
    "flipped last values": flip(".jsonl", -1),
    "flipped index": flip(".index", 1),
    "flipped last index": flip(".index", -1),
    "partition directory": shutil.rmtree,
    "topic": lambda partition: shutil.rmtree(partition.parent),
    "topic's files": lambda partition: [
        path.unlink() for path in partition.parent.rglob("*") if path.is_file()
    ],
}
TOPICS = {"input": "p-1", "scores": "gbm", "results": "p-1", "control": "models"}
every_damage = pytest.mark.parametrize("damage", DAMAGES)
moments = pytest.mark.parametrize("moment", ["running", "starting"])


def request(number) -> bytes:
    return encode_request(
        Request(
            f"r{number}", SYSTEM_CLOCK.wall_ns(), HOST, SYSTEM_CLOCK.monotonic_ns(), "p-1",
            msgspec.Raw(b"{}"), deadline_ms=60_000.0,
        )
    )  # fmt: skip


def score(number) -> bytes:
    return encode_score(Score(f"r{number}", "gbm", "1", 1, result=msgspec.Raw(b"1")))


def result(number) -> bytes:
    return encode_result(Result(f"r{number}", "p-1", "preferred", msgspec.Raw(b"1"), "s@1", 1.0))


LINES = {
    "input": request,
    "scores": score,
    "results": result,
    "control": lambda _: b'{"model":"gbm","state":"up","padding":"%b"}\n' % (b"x" * 80),
}


def fill(streams, numbers) -> None:
    """Fill the streams so that each has several segments."""
    for name, line in LINES.items():
        with getattr(streams, name).producer() as producer:
            for number in numbers:
                producer.send(TOPICS[name], line(number), partition=0)


def harm(directory: Path, stream: str, damage: str) -> None:
    DAMAGES[damage](directory / stream / TOPICS[stream] / "0")


def sends(streams, stream: str, lines) -> bool:
    """Return whether the log accepts lines from a process that starts now."""
    try:
        with getattr(streams, stream).producer() as producer:
            producer.send_many(TOPICS[stream], lines, partition=0)
    except RdvError:
        return False
    return True


def turn_all(server) -> None:
    for feed in server.feeds:
        feed.is_ready = True
    for _ in range(50):
        if not server.turn():
            break


@moments
@every_damage
@pytest.mark.parametrize("stream", TOPICS)
def test_the_server_goes_on(tmp_path, stream, damage, moment):
    with open_streams(str(tmp_path), CONFIG) as streams:
        fill(streams, range(RECORDS))
        if moment == "starting":
            harm(tmp_path, stream, damage)
        engine = Engine(HOST, {"s": SCHEDULE}, "s", ["gbm"])
        server = Server(
            streams, engine, [0], host=HOST, clock=SYSTEM_CLOCK, waker=Waker(), window_ms=60_000
        )
        try:
            turn_all(server)
            if moment == "running":
                fill(streams, range(RECORDS, 2 * RECORDS))
                harm(tmp_path, stream, damage)
                turn_all(server)
            before = engine.counters.preferred
            numbers = itertools.count(10_000)
            for _ in range(30):  # until the writing processes have started again
                number = next(numbers)
                if sends(streams, "input", [request(number)]):
                    sends(streams, "scores", [score(number)])
                for feed in server.feeds:
                    feed.consumer._look_ns = 0
                turn_all(server)
                if engine.counters.preferred > before:
                    break
            assert engine.counters.preferred > before
            assert orjson.dumps(server.losses.figures())
        finally:
            server.close()


@moments
@every_damage
def test_a_model_goes_on(tmp_path, damage, moment):
    with open_streams(str(tmp_path), CONFIG) as streams:
        fill(streams, range(RECORDS))
        if moment == "starting":
            harm(tmp_path, "input", damage)
        intake = RequestReader(streams.input, "gbm", skips=True, host=HOST, clock=SYSTEM_CLOCK)

        def read() -> list[str]:
            intake.feed.is_ready = True
            intake.feed.consumer._look_ns = 0
            found = [one.request.id for _ in range(20) for one in intake.read()]
            intake.commit((), 2**62)
            intake.feed.is_ready = True
            return found

        try:
            read()
            if moment == "running":
                fill(streams, range(RECORDS, 2 * RECORDS))
                harm(tmp_path, "input", damage)
                read()
            for number in range(30):
                if sends(streams, "input", [request(f"new-{number}")]) and (
                    f"rnew-{number}" in read()
                ):
                    break
            else:
                pytest.fail("nothing new is read")
        finally:
            intake.close()


@every_damage
def test_a_proxy_hears_of_results_again(tmp_path, damage):
    with open_streams(str(tmp_path), CONFIG) as streams:
        fill(streams, range(RECORDS))
        losses = Losses()
        feed = Feed(streams.results.consumer(["p-1"], start="latest"), losses)

        def read() -> list[str]:
            found = []
            feed.consumer._look_ns = 0
            for _ in range(20):
                found += [one.id for block in feed.poll(1_000) for one in RESULTS.read(block)]
            return found

        try:
            read()
            fill(streams, range(RECORDS, 2 * RECORDS))
            harm(tmp_path, "results", damage)
            read()
            for number in range(30):
                if sends(streams, "results", [result(f"new-{number}")]) and (
                    f"rnew-{number}" in read()
                ):
                    break
            else:
                pytest.fail("nothing new is read")
        finally:
            feed.close()


@every_damage
def test_the_supervisor_and_the_status_go_on(tmp_path, damage):
    """Their loops survive, and `rdv status` still has something to show."""
    from rdv.serve.observer import Observer

    (tmp_path / "rdv.toml").write_text('name = "d"\nschedule = "production"\n')
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "production.toml").write_text(
        'sla_ms = 50\ndefault = 0\n[[step]]\naccept = ["*"]\n'
    )
    decision = load_decision(str(tmp_path))
    line = {"role": "server", "name": "server-0", "pid": os.getpid(), "state": "ready"}
    topics = {"input": "p-1", "results": "p-1", "control": "status"}

    async def run() -> tuple[list[str], dict]:
        heard: list[str] = []
        with open_streams(str(tmp_path), CONFIG) as streams:
            fill(streams, range(RECORDS))

            def status(number):
                said = {**line, "time_ns": SYSTEM_CLOCK.wall_ns(), "number": number}
                return orjson.dumps(said) + b"\n"

            with streams.control.producer() as producer:
                for number in range(RECORDS):
                    producer.send("status", status(number), partition=0)
            observer = Observer(decision)
            control = Control(
                decision, SYSTEM_CLOCK, lambda one: heard.append(str(one.count("number"))),
                lambda *_: None,
            )  # fmt: skip
            demand = Demand(decision, lambda _: None, lambda *_: None)
            try:
                demand.listen(["gbm"])
                observer.look()
                for stream, topic in topics.items():
                    DAMAGES[damage](tmp_path / stream / topic / "0")
                for number in range(1_000, 1_030):
                    sends(streams, "input", [request(number)])
                    try:
                        with streams.control.producer() as producer:
                            producer.send("status", status(number), partition=0)
                    except RdvError:
                        continue
                    control._status._look_ns = 0
                    control._read()
                    demand.listen(["gbm"])
                    observer.look()
                    if str(number) in heard:
                        break
                with Observer(decision) as fresh:
                    return heard, fresh.look()
            finally:
                observer.close()
                control.close()
                demand.close()

    heard, shown = asyncio.run(run())
    assert any(int(number) >= 1_000 for number in heard)
    assert shown["decision"] == "d"


def test_a_fault_that_stays_is_logged_now_and_then(caplog):
    from rdv.stream.errors import RecordsDamaged

    losses = Losses()
    for _ in range(1_000):
        losses.note(RecordsDamaged("/d/x", "t", 0, 5, 9, 0, 0, "the file is missing"))
    assert losses.figures()["unread_records"] == 5
    assert len(losses.figures()["unread"]) == 1
    assert len(caplog.records) < 20
