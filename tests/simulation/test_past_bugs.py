"""Check that bugs which the simulator has found in the product stay fixed."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import msgspec
import pytest
from fake_clock import FakeClock
from simulator import make_plan, play
from simulator.plan import Arrival, Fault, ModelSpec, Plan
from simulator.world import World

from rdv.decision.streams import open_streams
from rdv.rendezvous.backlog import Backlog
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Request, Score, encode_request, encode_score
from rdv.rendezvous.reference import Report, decide
from rdv.rendezvous.schedule import schedule_from_object
from rdv.serve.process import Waker
from rdv.serve.server.server import Server
from rdv.serve.supervisor.control import Control
from rdv.serve.worker.crash_record import CrashRecord
from rdv.serve.worker.worker import Watchdog, Worker
from rdv.stream import StreamConfig
from rdv.stream.errors import DiskFull

HOST = "here"
names = count()

SLOW_FIRST = schedule_from_object(
    {
        "sla_ms": 50,
        "default": 0,
        "step": [{"until_ms": 30, "accept": ["slow"]}, {"accept": ["*"]}],
    },
    "s",
)


def memory_streams(clock):
    return open_streams(f"memory:findings-{next(names)}", StreamConfig(), clock)


def request(id_: str, clock: FakeClock) -> Request:
    return Request(
        id_,
        clock.wall_ns(),
        HOST,
        clock.monotonic_ns(),
        "p",
        msgspec.Raw(b'{"n": 1}'),
        deadline_ms=50.0,
    )


def score(id_: str, model: str) -> Score:
    return Score(id_, model, "1", 0, result=msgspec.Raw(b"1"))


def test_an_idle_server_sleeps() -> None:
    """A server once took a whole processor from its start to its first request: a bell that was
    rung while its feed was only looked at stayed readable.
    """
    assert not play(make_plan(0)).broken


def test_an_old_score_is_no_sign_of_life() -> None:
    """No request was open when the score came, so it lay unread, in about 1 % of worlds."""
    for seed in range(100, 160):
        assert not play(make_plan(seed)).broken


def test_an_old_score_makes_no_request_wait_for_a_dead_model() -> None:
    """The score was written, then the model died and that was reported; the server reads both in
    one turn, the news first. Without the fix every later request waits for the dead model until it
    is back.
    """
    clock = FakeClock()
    with memory_streams(clock) as streams, closing(Waker()) as waker:
        for topic in ("slow", "fast"):
            streams.scores.make_topic(topic)
        engine = Engine(HOST, {"s": SLOW_FIRST}, "s", ["slow", "fast"])
        server = Server(streams, engine, [0], host=HOST, clock=clock, waker=waker, window_ms=10_000)
        server.turn()
        streams.scores.producer().send("slow", encode_score(score("long ago", "slow")))
        clock.advance(1_000_000)
        news = b'{"model":"slow","state":"down"}\n'
        streams.control.producer().send("models", news)
        for feed in server.feeds:
            feed.is_ready = True  # as the wake-up does
        server.turn()
        streams.input.producer().send("p", encode_request(request("r", clock)))
        streams.scores.producer().send("fast", encode_score(score("r", "fast")))
        clock.advance(1_000_000)
        for _ in range(3):
            server.turn()
        assert engine.counters.fallback == 1, "it waits for the slow one, which is dead"
        server.close()


def test_two_requests_that_end_a_model_do_not_take_turns_for_ever() -> None:
    """A canary (which sees everything) meets two requests that crash it, before its first commit.

    The first is reported and passed over while the second ends the process; then the note names the
    second, and the first is read again. Without the fix the worker never gets past them.
    """
    canary = ModelSpec("gbm", batch_max=1, when_behind="all", load_ms=5, poison=frozenset({0, 1}))
    fast = ModelSpec("logit", load_ms=5)
    schedule = {"sla_ms": 50, "default": {"score": 0, "by": "default"}, "step": [{"accept": ["*"]}]}
    plan = Plan(
        seed=0, partitions=1, servers=1, proxies=(0,), models=(canary, fast),
        schedules={"live": schedule},
        arrivals=tuple(Arrival(number, number, 0) for number in range(4)),
    )  # fmt: skip
    harmless = replace(plan, models=(replace(canary, poison=frozenset()), fast))
    assert not play(harmless).broken
    assert not play(plan).broken


def row_model() -> SimpleNamespace:
    return SimpleNamespace(
        takes="data", version="1", predict=lambda rows: [b"1"] * len(rows), close=lambda: None
    )


def worker_of_all(streams, clock, waker, batch_max: int) -> Worker:
    """Return an instance of a canary, which has to evaluate every request."""
    return Worker(
        streams,
        "canary",
        row_model(),
        Backlog(batch_max, "all"),
        host=HOST,
        clock=clock,
        waker=waker,
        watchdog=Watchdog(1_000, clock, lambda batch: None),
        crash_record=CrashRecord(),
    )


@pytest.mark.parametrize("is_full", [False, True], ids=["a second instance", "the disk is full"])
def test_what_waits_in_a_partition_that_is_given_up_is_not_committed(is_full) -> None:
    """Requests that the first instance had read but not evaluated were never reported when the
    second one got their partition, nor when it could not be given up after all (seed 97).
    """
    clock = FakeClock()
    with (
        memory_streams(clock) as streams,
        closing(Waker()) as waker,
        closing(Waker()) as other_waker,
    ):
        streams.input.make_topic("p", 4)
        streams.scores.make_topic("canary", 4)
        producer = streams.input.producer()
        for partition in range(4):
            lines = [encode_request(request(f"{partition}-{n}", clock)) for n in range(3)]
            producer.send_many("p", lines, partition=partition)
        first = worker_of_all(streams, clock, waker, 1)
        workers = [first]
        for _ in range(100):
            if len(first.requests.feed.consumer.assignment()) == 4 and first.waiting_count:
                break
            first.turn()
        assert first.waiting_count > 3
        workers.append(worker_of_all(streams, clock, other_waker, 1))
        if is_full:
            refuse_once(first.requests.feed.consumer._member)
        for _ in range(60):
            clock.advance(100_000_000)
            for worker in workers:
                worker.requests.feed.is_ready = True
                worker.turn()
        reported = {
            (record.partition, msgspec.json.decode(record.value)["id"])
            for record in streams.scores.consumer(["canary"], start="earliest").poll(1_000)
        }
        wanted = {(p, f"{p}-{n}") for p in range(4) for n in range(3)}
        assert all(worker.requests.feed.consumer.assignment() for worker in workers)
        for worker in workers:
            worker.requests.close()
            worker.reports.close()
    assert reported == wanted


def refuse_once(member) -> None:
    """Fail the first attempt to give partitions up: the group's state cannot be written."""
    right = member.let_go

    def refused(places) -> None:
        member.let_go = right
        raise DiskFull("input/.groups/canary")

    member.let_go = refused


def test_behind_damage_the_server_reads_on_at_once() -> None:
    """A server passed over one damaged partition a turn and slept between the turns, while scores
    that it could read were waiting behind the damage (seed 239).
    """
    models = tuple(ModelSpec(name, load_ms=5, fixed_ms=5) for name in ("gbm", "logit", "rules"))
    schedule = {"sla_ms": 20, "default": {"score": 0, "by": "default"}, "step": [
        {"accept": ["*"], "need": "all", "combine": "best"}]}  # fmt: skip
    ms = 1_000_000
    plan = Plan(
        seed=0, partitions=4, servers=1, proxies=(0,), models=models, schedules={"live": schedule},
        # The scores of the first twenty come after their decision, and lie unread.
        arrivals=tuple(
            Arrival(n // 20 * 60 * ms, n, 0, deadline_ms=1.0 if n < 20 else None)
            for n in range(40)
        ),
        faults=(Fault("damage", "scores", at_ns=30 * ms),),
    )  # fmt: skip
    assert not play(replace(plan, faults=())).broken
    assert not play(plan).broken


def test_the_backlog_is_bounded() -> None:
    """Each turn evaluates `batch_max` rows and reads 2,000 more, however many wait."""
    clock = FakeClock()
    records = 10_000
    with memory_streams(clock) as streams, closing(Waker()) as waker:
        line = encode_request(request("r", clock))
        streams.input.producer().send_many("p", [line] * records)
        worker = worker_of_all(streams, clock, waker, 1)
        for _ in range(records // 1_000):
            worker.turn()
        assert worker.waiting_count <= records // 2
        worker.requests.close()
        worker.reports.close()


def test_what_was_there_at_the_start_replays() -> None:
    """Scores may come before their request: with a broker, or after a jump of the wall clock."""
    schedule = schedule_from_object(
        {"sla_ms": 50, "default": 0, "step": [{"accept": ["*"], "need": 2, "combine": "mean"}]}, "s"
    )
    engine = Engine(HOST, {"s": schedule}, "s", ["a", "b", "c"])
    start_ns = 10**12
    said = {model: score("r", model) for model in "abc"}
    for number, one in enumerate(said.values()):
        assert not engine.score(one, start_ns - 3_000 + number)
    asked = Request("r", 0, HOST, start_ns, "p", msgspec.Raw(b"1"))
    (result,) = engine.request(asked, start_ns)
    recorded = [Report(round(a.arrived_ms * 1e6), said[a.model]) for a in result.arrived]
    again = decide(schedule, recorded, live=said)
    assert "+".join(again.models) == result.model


def test_a_models_end_is_recorded_once_the_disk_has_room(monkeypatch) -> None:
    """Until then servers wait for the dead model, in every request."""
    clock = FakeClock()

    class FullAtFirst:
        is_full = True

        def __init__(self, inner) -> None:
            self.inner = inner

        def send_many(self, topic, values, **how):
            if self.is_full:
                raise DiskFull("control")
            return self.inner.send_many(topic, values, **how)

        def close(self) -> None:
            self.inner.close()

    async def run() -> int:
        with memory_streams(clock) as streams:
            monkeypatch.setattr(
                "rdv.serve.supervisor.control.open_stream", lambda *_, **__: streams.control
            )
            decision = SimpleNamespace(
                log=SimpleNamespace(stream_config=lambda partitions: None),
                stream_path=lambda name: name,
            )
            control = Control(decision, clock, lambda line: None, lambda text, code, about: None)
            control._producer = producer = FullAtFirst(control._producer)
            control.model_state("gbm", is_up=False, own_pids=[])
            producer.is_full = False
            control._timer.cancel()
            control._look()  # five times a second
            control.model_state("gbm", is_up=False, own_pids=[])
            told = streams.control.end("models") if "models" in streams.control.topics() else 0
            control.close()
            return told

    assert asyncio.run(run()) >= 1


def test_what_a_broker_has_recorded_is_decided_again() -> None:
    """Readers of a broker see records at times of their own: scores even before their request."""
    counts: Counter[str] = Counter()
    for plan in (plan for plan in map(make_plan, range(60)) if plan.is_broker):
        outcome = play(plan)
        assert not outcome.broken
        counts += outcome.counts
    assert counts["verified"] > counts["asked"] / 2


def test_a_killed_writer_excuses_only_what_an_empty_directory_replaced(monkeypatch) -> None:
    """A copy of a directory that loses records is a loss, whoever has appended them."""
    worlds: list[World] = []

    def copy_nothing(source, target) -> None:
        del source
        target.mkdir()

    monkeypatch.setattr("simulator.files.shutil.copytree", copy_nothing)
    for plan in map(make_plan, range(700)):
        if not any(fault.kind == "move" and fault.what != "empty" for fault in plan.faults):
            continue
        outcome = play(plan, spoil=worlds.append)
        killed = [p for p in worlds.pop().processes if p.code not in (None, 0)]
        lost = [one.detail for one in outcome.broken if one.promise == "nothing is lost"]
        if any(f"appended by {process}:" in detail for process in killed for detail in lost):
            return
    raise AssertionError("no loss of a killed writer was seen")
