"""Check that `queue_ms` of scores is the time waited, whatever the wall clock does meanwhile."""

from __future__ import annotations

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.clock import SYSTEM_CLOCK
from rdv.rendezvous.backlog import Waiting
from rdv.rendezvous.messages import Request, decode_score
from rdv.serve.outbox import Outbox
from rdv.serve.worker.reports import Reports
from rdv.stream import Block, Record, open_stream

HOUR_NS = 3_600 * 10**9


class Model:
    version = "1"


def queued_ms(name, logged_ms, waited_ms, step_ns, host="here"):
    """Return the recorded `queue_ms` of a request that was in the log after `logged_ms`, and was
    evaluated `waited_ms` later; in between, the wall clock is stepped by `step_ns`.
    """
    clock = FakeClock()
    came_wall_ns, came_ns = clock.wall_ns(), clock.monotonic_ns()
    request = Request("1", came_wall_ns, host, came_ns, "p", msgspec.Raw(b"1"))
    clock.advance(int(logged_ms * 1e6))
    block = Block.of([Record("p", 0, 0, clock.wall_ns(), b"{}")])
    clock.advance(int(waited_ms * 1e6))
    clock.step_ns += step_ns
    with open_stream(f"memory:{name}", clock=clock) as stream:
        stream.make_topic("gbm", 1)
        begin = stream.end("gbm", 0)
        with stream.producer() as producer:
            outbox = Outbox(producer, SYSTEM_CLOCK, "scores", keep_ms=0)
            reports = Reports(outbox, "gbm", Model(), clock, "here")
            waiting = Waiting(request, block, 0, 2**62, 2**62)
            reports.evaluated([waiting], [b"1"], clock.monotonic_ns(), 2.0)
            outbox.close()
        with stream.consumer(["gbm"], start=begin) as consumer:
            (record,) = consumer.poll()
            return decode_score(record.value).queue_ms


@pytest.mark.parametrize("step_ns", [0, HOUR_NS, -HOUR_NS, 365 * 24 * HOUR_NS])
def test_a_step_of_the_wall_clock_changes_nothing(step_ns):
    assert queued_ms("queue-step", 2, 30, step_ns) == 30.0


@given(st.integers(0, 5_000), st.integers(0, 60_000), st.integers(-(2**61), 2**60), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_it_is_never_negative(logged_ms, waited_ms, step_ns, is_here):
    found = queued_ms("queue-any", logged_ms, waited_ms, step_ns, "here" if is_here else "there")
    assert found >= 0
    if is_here:
        assert found == waited_ms
