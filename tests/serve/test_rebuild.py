"""Check the state that a starting server rebuilds from the log."""

from __future__ import annotations

import msgspec
import pytest
from fake_clock import FakeClock

from rdv.clock import SYSTEM_CLOCK
from rdv.decision.streams import open_streams
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
from rdv.serve.feeds import Losses
from rdv.serve.process import Waker, host_name
from rdv.serve.server.rebuild import rebuild
from rdv.serve.server.server import Server
from rdv.stream import StreamConfig


def rebuilt(streams):
    steps = {"sla_ms": 60_000, "default": 0, "step": [{"accept": ["a", "b"]}]}
    engine = Engine(host_name(), {"s": schedule_from_object(steps, "s")}, "s", ["a", "b"])
    found = rebuild(streams, engine, [0], host_name(), SYSTEM_CLOCK, 60_000, Losses())
    found.input.close()
    found.scores.close()
    return engine, found.results


def test_a_topic_holds_reports_of_its_own_model_only(tmp_path):
    with open_streams(str(tmp_path), StreamConfig(partitions=1)) as streams:
        now_ns, wall_ns = SYSTEM_CLOCK.monotonic_ns(), SYSTEM_CLOCK.wall_ns()
        request = Request("r1", wall_ns, host_name(), now_ns, "p-1", msgspec.Raw(b"{}"))
        score = Score("r1", "a", "1", wall_ns, result=msgspec.Raw(b"1"))
        with streams.input.producer() as input_, streams.scores.producer() as scores:
            input_.send("p-1", encode_request(request), partition=0)
            scores.send("b", encode_score(score), partition=0)
            engine, results = rebuilt(streams)
            assert (results, engine.open_count, engine.counters.malformed) == ([], 1, 1)
            scores.send("a", encode_score(score), partition=0)
            engine, results = rebuilt(streams)
            assert [result.model for result in results] == ["a"]
            assert engine.open_count == 0


def test_old_news_of_models_decide_nothing(tmp_path):
    """As with `rdv serve`, all models are reported as down before the first one is up."""
    host, clock = host_name(), SYSTEM_CLOCK
    schedule = schedule_from_object({"sla_ms": 60_000, "step": [{"accept": ["a", "b"]}]}, "s")
    with open_streams(str(tmp_path), StreamConfig(partitions=1)) as streams:
        request = Request("r1", 1, host, clock.monotonic_ns(), "p-1", msgspec.Raw(b"{}"))
        with streams.input.producer() as input_, streams.control.producer() as control:
            for line in (b"a down", b"b down", b"a up", b"b up", b"b down", b"a down", b"a up"):
                model, state = line.split()
                news = b'{"model":"%b","state":"%b"}\n' % (model, state)
                control.send("models", news, partition=0)
            input_.send("p-1", encode_request(request), partition=0)
            engine = Engine(host, {"s": schedule}, "s", ["a", "b"])
            server = Server(
                streams, engine, [0], host=host, clock=clock, waker=Waker(), window_ms=60_000
            )
            try:
                while server.turn():
                    pass
                assert (engine.open_count, engine.counters.default) == (1, 0)
                # Of news that is read together, the last one counts.
                for state in (b"down", b"up"):
                    news = b'{"model":"a","state":"%b"}\n' % state
                    control.send("models", news, partition=0)
                server.feeds[2].is_ready = True
                while server.turn():
                    pass
                assert engine.open_count == 1
                control.send("models", b'{"model":"a","state":"down"}\n', partition=0)
                server.feeds[2].is_ready = True
                while server.turn():
                    pass
                assert (engine.open_count, engine.counters.default) == (0, 1)
            finally:
                server.close()


HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize("before", [0, -HOUR_NS, HOUR_NS])
@pytest.mark.parametrize("between", [0, -HOUR_NS, HOUR_NS])
@pytest.mark.parametrize("after", [0, -HOUR_NS, HOUR_NS])
def test_no_step_of_the_wall_clock_changes_a_rebuild(tmp_path, before, between, after):
    """The clock is set between the processes' writes, and before the server starts again. It finds
    the open requests, answers none again, and counts the reports that had arrived.
    """
    clock = FakeClock(wall=None, monotonic=None)
    host = host_name()
    with open_streams(str(tmp_path), StreamConfig(partitions=1), clock=clock) as streams:
        start_ns = SYSTEM_CLOCK.monotonic_ns()
        with (
            streams.input.producer() as input_,
            streams.scores.producer() as scores,
            streams.results.producer() as results,
        ):
            clock.step_ns = before
            for number in range(3):
                request = Request(
                    f"r{number}", clock.wall_ns(), host, start_ns, "p-1", msgspec.Raw(b"{}")
                )
                input_.send("p-1", encode_request(request), partition=0)
            clock.step_ns = between
            score = Score("r0", "a", "1", clock.wall_ns(), result=msgspec.Raw(b"1"))
            scores.send("a", encode_score(score), partition=0)
            told = Result("r2", "p-1", "default", msgspec.Raw(b"0"), "s@1", 1.0)
            results.send("p-1", encode_result(told), partition=0)
            clock.step_ns = after
            engine = Engine(
                host,
                {"s": schedule_from_object({"sla_ms": 60_000, "step": [{"accept": ["a"]}]}, "s")},
                "s",
                ["a"],
            )
            found = rebuild(streams, engine, [0], host, clock, 10_000, Losses())
            found.input.close()
            found.scores.close()
            (result,) = found.results
            passed_ms = (SYSTEM_CLOCK.monotonic_ns() - start_ns) / 1e6
    assert (result.id, result.kind, engine.open_count) == ("r0", "preferred", 1)
    assert 0 <= result.waited_ms <= passed_ms
    (arrival,) = result.arrived
    assert 0 <= arrival.arrived_ms <= result.waited_ms
