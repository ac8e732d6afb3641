"""The worker's plan: who is refused, who is evaluated. Pure."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rdv.components.worker.backlog import PROBE_NS, Backlog, Cost, Waiting
from rdv.messages import Request
from rdv.stream import Record

MS = 1_000_000
NOW = 10**12


def waiting(number, due_ms, now_ns=NOW):
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    return Waiting(request, Record("p", 0, number, 1, b""), now_ns + int(due_ms * MS))


def backlog(dues, *, row_ms=0.0, batch_max=4, when_behind="skip"):
    found = Backlog(batch_max, when_behind, Cost(row_ms))
    for number, due_ms in enumerate(dues):
        found.add([waiting(number, due_ms)])
    return found


def ids(batch):
    return [int(one.request.id) for one in batch]


dues = st.lists(st.floats(-20, 100), max_size=30)
costs = st.sampled_from([0.0, 0.1, 3.0, 40.0])


@given(dues, costs, st.integers(1, 8))
def test_every_request_is_refused_or_evaluated_once(due_ms, row_ms, batch_max):
    lot = backlog(due_ms, row_ms=row_ms, batch_max=batch_max)
    lot._evaluated_ns = NOW  # no probe
    seen = []
    while len(lot):
        plan = lot.plan(NOW)
        assert plan.refused or plan.batch, "no progress"
        assert len(plan.batch) <= batch_max
        seen += ids(r.waiting for r in plan.refused) + ids(plan.batch)
    assert sorted(seen) == list(range(len(due_ms)))


@given(dues, costs)
def test_nobody_is_refused_who_could_be_alone_in_time_and_nobody_is_evaluated_in_vain(
    due_ms, row_ms
):
    lot = backlog(due_ms, row_ms=row_ms, batch_max=8)
    lot._evaluated_ns = NOW
    plan = lot.plan(NOW)
    for refused in plan.refused:
        assert refused.waiting.deadline_ns < NOW + row_ms * MS or row_ms == 0
        assert refused.waiting.deadline_ns <= NOW or refused.refusal == "behind"
        assert refused.late_ms >= 0
    first = min((one.deadline_ns for one in plan.batch), default=2**63)
    assert NOW + int(row_ms * len(plan.batch) * MS) <= first or len(plan.batch) == 1


def test_the_newest_come_first_in_the_order_of_their_arrival():
    lot = backlog([50] * 10, batch_max=4)
    assert ids(lot.plan(NOW).batch) == [6, 7, 8, 9]
    assert ids(lot.plan(NOW).batch) == [2, 3, 4, 5]


def test_who_must_see_everything_gets_the_oldest_first_and_refuses_nobody():
    lot = backlog([-5, 50, -7], batch_max=2, when_behind="all")
    assert ids(lot.plan(NOW).batch) == [0, 1]
    assert ids(lot.plan(NOW).batch) == [2]


def test_a_model_that_was_slow_once_is_tried_again():
    lot = backlog([], row_ms=200.0)
    lot.add([waiting(1, 50)])
    lot.add([waiting(2, 50)])
    plan = lot.plan(NOW)
    assert (ids(plan.batch), ids(r.waiting for r in plan.refused)) == ([2], [1])
    lot.add([waiting(3, 50)])
    assert ids(lot.plan(NOW).batch) == []  # not all the time
    later = NOW + PROBE_NS
    lot.cost.learn(1, 1.0)
    lot.cost.learn(1, 1.0)
    lot.cost.learn(1, 1.0)
    lot.add([waiting(4, 50, later)])
    assert ids(lot.plan(later).batch) == [4]


def test_a_stutter_does_not_outweigh_what_is_known():
    cost = Cost()
    for _ in range(10):
        cost.learn(10, 10)
    cost.learn(1, 20)
    assert cost.of(1) < 3.0


@given(dues)
def test_the_quick_look_at_deadlines_is_never_wrong(due_ms):
    lot = backlog(due_ms)
    for now_ms in (0, 10, 30, 60, 120):
        lot.plan(NOW + now_ms * MS)
        assert all(lot._soonest_ns <= one.deadline_ns for one in lot)
