"""Check the scaler by made-up status lines and a fake clock, and `Demand` over a real stream."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from fake_clock import FakeClock

from rdv.decision import Decision, InvalidDecision, ModelConfig
from rdv.decision.convert import make_decision
from rdv.decision.files import Stamps
from rdv.serve.supervisor.demand import Demand, asked_for
from rdv.serve.supervisor.scaler import LOOK_EVERY_S, Callbacks, Scaler, limits_of
from rdv.serve.supervisor.scaling import Meters
from rdv.status.lines import read_status
from rdv.stream.errors import Closed

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_000 * SECOND_NS


def line(pid, second, *, model="gbm", state="ready", **counts):
    time_ns = BEGIN_NS + int(second * SECOND_NS)
    plain = {"role": "worker", "name": f"{model}-{pid}", "pid": pid, "state": state}
    return read_status(json.dumps({**plain, "time_ns": time_ns, "model": model, **counts}).encode())


# Meters


def looked(meters, second, batch_max=8):
    clock = FakeClock(BEGIN_NS, BEGIN_NS)
    clock.advance(int(second * SECOND_NS))
    return meters.look("gbm", batch_max, clock)


def test_rates_are_those_between_two_lines_of_a_process():
    meters = Meters()
    meters.add(line(1, 0, scored=100, refused=10))
    meters.add(line(2, 0, scored=7))
    meters.add(line(9, 0, model="mlp", scored=1))
    meters.add(line(1, 2, scored=300, refused=30, waiting=3, row_ms=2.0, fixed_ms=1))
    meters.add(line(2, 2, scored=27, waiting=4, row_ms=1.5))
    look = looked(meters, 2)
    assert (look.ready, look.scored, look.refused, look.waiting) == (2, 110, 10, 7)
    assert (look.row_ms, look.fixed_ms) == (2.0, 1.0)


def test_a_process_that_has_just_started_has_no_rates_of_another():
    meters = Meters()
    meters.add(line(1, 0, scored=100))
    meters.keep({1})
    meters.add(line(2, 1, state="starting"))
    assert looked(meters, 1).ready == 1
    meters.keep({2})
    meters.add(line(2, 2, scored=5))
    assert (looked(meters, 2).ready, looked(meters, 2).scored) == (1, 5)


def test_an_instance_without_news_for_longer_than_a_batch_does_not_count():
    meters = Meters()
    meters.add(line(1, 0, refused=0, row_ms=1_000))
    meters.add(line(1, 1, refused=50, row_ms=1_000))
    assert looked(meters, 10, batch_max=8).ready == 1
    assert looked(meters, 10, batch_max=1).ready == 0


# Scaler


def decision(**model):
    models = {"gbm": ModelConfig(path="g.py", **model)}
    return Decision(directory="d", models=models, partitions=8)


class World:
    """Run a scaler that always has as many processes as it wants."""

    def __init__(self, decision):
        self.decision, self.clock = decision, FakeClock(BEGIN_NS, BEGIN_NS)
        self.words, self.lines, self.down, self.asleep = [], [], [], []
        self.changes = self.lags = 0
        self.is_full = False
        self.scaler = Scaler(lambda: self.decision, self.clock, self.words.append)
        self.scaler.update(decision)
        callbacks = Callbacks(
            own_pids=lambda: range(100),
            changed=self.changed,
            record=self.record,
            is_down=self.down.append,
            lag=lambda group: self.lags,
        )
        self.scaler.start(callbacks, self)

    def changed(self):
        self.changes += 1

    def record(self, line):
        if not self.is_full:
            self.lines.append(line)
        return not self.is_full

    def listen(self, sleeping):
        self.asleep = sorted(sleeping)

    def count(self):
        return self.scaler.counts()["gbm"]

    def look(self, *lines):
        for one in lines:
            self.scaler.reported(one)
        self.clock.advance(SECOND_NS)
        self.scaler._look(list(self.scaler.counts()))


def play(decision, history):
    async def run():
        world = World(decision)
        history(world)
        world.scaler.close()
        return world

    return asyncio.run(run())


def overloaded(second, scored=100, refused=50):
    counts = {"scored": scored * second, "refused": refused * second, "row_ms": 10.0}
    return line(1, second, **counts)


def test_it_scales_and_says_so():
    def history(world):
        for second in range(5):
            world.look(overloaded(second))
        assert world.count() == 2

    world = play(decision(instances_max=4), history)
    assert world.words == ["gbm: 1 → 2 instances: 50 of 150 requests/s missed their window"]
    assert [(one.instances, one.least, one.most) for one in world.lines] == [(1, 1, 4), (2, 1, 4)]
    assert world.changes == 1


def test_what_could_not_be_record_is_tried_again():
    def history(world):
        world.is_full = True
        for second in range(5):
            world.look(overloaded(second))
        assert [one.instances for one in world.lines] == [1]
        world.is_full = False
        world.look()
        world.look()
        assert [one.instances for one in world.lines] == [1, 2]

    play(decision(instances_max=4), history)


def test_what_it_has_not_even_read_counts_where_nothing_is_refused():
    def history(world):
        world.lags = 5_000
        for second in range(5):
            world.look(line(1, second, scored=second, row_ms=10.0))

    assert play(decision(instances_max=4), history).count() == 1
    assert play(decision(instances_max=4, when_behind="all"), history).count() == 2


def test_a_model_that_sleeps_is_listened_for_until_it_is_asked_for():
    def history(world):
        assert (world.count(), world.asleep, world.down) == (0, ["gbm"], ["gbm"])
        world.scaler.requested("gbm")
        assert (world.count(), world.asleep) == (1, [])
        assert world.changes == 1
        world.scaler.requested("nobody")

    play(decision(instances_min=0), history)


def test_a_running_model_goes_on_when_scaling_is_switched_on():
    def history(world):
        assert world.scaler.counts() == {}
        world.decision = decision(instances_min=0, instances_max=8)
        world.scaler.update(world.decision)
        assert world.count() == 3
        world.decision = decision(instances=2)
        world.scaler.update(world.decision)
        assert world.scaler.counts() == {}
        world.look()

    play(decision(instances=3), history)


def test_the_scaler_checks_periodically(monkeypatch):
    monkeypatch.setattr("rdv.serve.supervisor.scaler.LOOK_EVERY_S", LOOK_EVERY_S / 1_000)

    async def run():
        world = World(decision(instances_min=0))
        seen = asyncio.Event()
        world.listen = lambda _: seen.set()
        await asyncio.wait_for(seen.wait(), 60)
        world.scaler.close()

    asyncio.run(run())


def test_never_more_than_can_share_the_partitions():
    two = decision(instances_max=4).replace(partitions=2)
    assert limits_of(two, two.models["gbm"]).most == 2


# What may be configured


def model(**settings):
    table = {"models": {"gbm": {"path": "g.py", **settings}}}
    return make_decision(table, "rdv.toml").models["gbm"]


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        ({}, 1, 1),
        ({"instances": 3}, 3, 3),
        ({"instances_max": 4}, 1, 4),
        ({"instances": 2, "instances_max": 4}, 2, 4),
        ({"instances": 6, "instances_max": 4}, 4, 4),
        ({"instances_min": 0}, 0, 1),
        ({"instances_min": 3}, 3, 3),
        ({"instances_min": 2, "instances_max": 2}, 2, 2),
    ],
)
def test_min_and_max_stand_for_themselves(settings, least, most):
    assert model(**settings).range == (least, most)
    assert model(**settings).scales is (least != most)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"instances_min": 5, "instances_max": 4}, "5 is more than instances_max, 4"),
        ({"instances_min": 0, "builtin": "canary"}, "a canary has to see every request"),
        ({"instances_max": 0}, ">= 1"),
        ({"instances_max": "many"}, "many"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, why):
    with pytest.raises(InvalidDecision) as caught:
        model(**settings)
    assert caught.value.key.startswith("models.gbm.instances_")
    assert why in caught.value.reason


def test_a_change_of_how_many_is_no_change_of_the_model():
    stamps = Stamps()
    assert stamps.of(decision()) == stamps.of(decision(instances_max=4, idle_ms=5))
    assert stamps.of(decision()) != stamps.of(decision(batch_max=2))


# Demand


def test_whom_requests_are_for():
    values = [b"{", b'{"not_asked": ["a", "b"]}', b'{"not_asked": ["a"], "data": 1}']
    assert asked_for(values[:2], ["a", "b"]) == set()
    assert asked_for(values, ["a", "b"]) == {"b"}
    assert asked_for([b"{}"], ["a", "b"]) == {"a", "b"}


def test_a_request_wakes_the_listener_only_while_a_model_sleeps(tmp_path):
    async def run():
        found: asyncio.Queue[str] = asyncio.Queue()
        problems: list[str] = []
        place = Decision(directory=str(tmp_path), partitions=2)
        demand = Demand(place, found.put_nowait, lambda text, code="": problems.append(text))
        producer = demand._stream.producer()

        def ask(value=b"{}\n"):
            thread = threading.Thread(target=producer.send, args=("p-1", value))
            thread.start()
            thread.join()

        ask()
        demand.listen(["rare"])
        await asyncio.sleep(0)
        assert found.empty(), "what was there before does not count"
        ask(b'{"not_asked": ["rare"]}\n')
        ask()
        assert await asyncio.wait_for(found.get(), 60) == "rare"
        demand.listen([])
        ask()
        demand.listen(["rare"])
        assert found.empty()
        ask()
        assert await asyncio.wait_for(found.get(), 60) == "rare"
        producer.close()
        demand.close()
        assert problems == []

    asyncio.run(run())


def test_a_listener_that_cannot_read_reports_it_and_retries(tmp_path, monkeypatch):
    async def run():
        found: asyncio.Queue[str] = asyncio.Queue()
        problems: list[tuple[str, str]] = []

        def problem(text: str, code: str = "") -> None:
            problems.append((text, code))

        demand = Demand(Decision(directory=str(tmp_path)), found.put_nowait, problem)
        with demand._stream.producer() as producer:
            producer.send("p-1", b"{}\n")
            demand.listen(["rare"])
            failing = demand._consumer
            monkeypatch.setattr(failing, "poll", lambda *_: (_ for _ in ()).throw(Closed("input")))
            demand.listen(["rare"])
            assert [code for _, code in problems] == ["closed"]
            assert demand._consumer is None
            demand._again()  # as its timer would call it
            producer.send("p-1", b"{}\n")
            assert await asyncio.wait_for(found.get(), 60) == "rare"
        demand.close()

    asyncio.run(run())
