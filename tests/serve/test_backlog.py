"""Check which requests the worker's plan refuses and which it evaluates. Pure."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rdv.rendezvous import backlog as backlogs
from rdv.rendezvous.backlog import PROBE_NS, REPORT_NS, Backlog, Cost, Waiting
from rdv.rendezvous.messages import Request
from rdv.stream import Block, Record

MS = 1_000_000
NOW = 10**12


def waiting(number, due_ms, now_ns=NOW, wanted_ms=None):
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    due_ns = now_ns + int(due_ms * MS)
    wanted_ns = due_ns if wanted_ms is None else min(due_ns, now_ns + int(wanted_ms * MS))
    return Waiting(request, Block.of([Record("p", 0, number, 1, b"")]), 0, due_ns, wanted_ns)


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
def test_a_request_is_refused_exactly_if_it_cannot_be_in_time(due_ms, row_ms):
    lot = backlog(due_ms, row_ms=row_ms, batch_max=8)
    lot._evaluated_ns = NOW
    plan = lot.plan(NOW)
    next_ns = NOW + REPORT_NS + row_ms * (len(plan.batch) + 1) * MS
    for refused in plan.refused:
        assert refused.waiting.deadline_ns < next_ns
        assert refused.waiting.deadline_ns <= NOW or refused.refusal == "behind"
        assert refused.late_ms >= 0
    assert all(one.deadline_ns >= next_ns - MS for one in lot), "the others could be"
    first = min((one.deadline_ns for one in plan.batch), default=2**63)
    assert NOW + REPORT_NS + int(row_ms * len(plan.batch) * MS) <= first or len(plan.batch) == 1


def test_the_newest_come_first_in_the_order_of_their_arrival():
    lot = backlog([50] * 10, batch_max=4)
    assert ids(lot.plan(NOW).batch) == [6, 7, 8, 9]
    assert ids(lot.plan(NOW).batch) == [2, 3, 4, 5]


def test_a_model_that_must_see_all_takes_the_oldest_first_and_refuses_none():
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
    assert ids(lot.plan(NOW).batch) == []  # it is not tried all the time
    later = NOW + PROBE_NS
    lot.cost.learn(1, 1.0)
    lot.cost.learn(1, 1.0)
    lot.cost.learn(1, 1.0)
    lot.add([waiting(4, 50, later)])
    assert ids(lot.plan(later).batch) == [4]


@given(dues)
def test_the_quick_look_at_deadlines_is_never_wrong(due_ms):
    lot = backlog(due_ms)
    for now_ms in (0, 10, 30, 60, 120):
        lot.plan(NOW + now_ms * MS)
        assert all(lot._soonest_ns <= one.target_ns for one in lot)


def holding(wait_ms, fixed_ms, dues=(50,), when_behind="skip"):
    lot = Backlog(4, when_behind, Cost(0.1, fixed_ms), wait_ms)
    for number, due_ms in enumerate(dues):
        lot.add([waiting(number, due_ms)], NOW)
    return lot


def test_a_batch_is_waited_for_as_long_as_its_fixed_cost():
    lot = holding(wait_ms=10, fixed_ms=3)
    assert lot.held_until_ns() == NOW + 3 * MS
    assert lot.plan(NOW + 2 * MS).batch == []
    assert ids(lot.plan(NOW + 3 * MS).batch) == [0]
    assert len(lot) == 0


def test_a_batch_is_not_held_without_gain_or_near_a_deadline():
    assert holding(wait_ms=0, fixed_ms=3).held_until_ns() == 0
    assert ids(holding(wait_ms=10, fixed_ms=0).plan(NOW).batch) == [0]
    assert ids(holding(wait_ms=10, fixed_ms=3, dues=[4]).plan(NOW + MS).batch) == [0]
    assert ids(holding(wait_ms=10, fixed_ms=3, dues=[50] * 4).plan(NOW).batch) == [0, 1, 2, 3]
    assert holding(wait_ms=10, fixed_ms=3, when_behind="all").held_until_ns() == NOW + 3 * MS


@given(dues, st.floats(0, 20), st.floats(0, 20))
def test_a_held_batch_is_evaluated_or_refused_in_the_end(due_ms, wait_ms, fixed_ms):
    lot = holding(wait_ms, fixed_ms, due_ms)
    lot._evaluated_ns = NOW
    seen, now_ns = [], NOW
    for _ in range(200):
        plan = lot.plan(now_ns)
        seen += ids(r.waiting for r in plan.refused) + ids(plan.batch)
        held_ns = lot.held_until_ns()
        assert held_ns <= NOW + 20 * MS
        now_ns = max(now_ns, held_ns)
        if not len(lot):
            break
    assert sorted(seen) == list(range(len(due_ms)))


def test_requests_that_cannot_wait_for_the_next_batch_are_refused():
    """The refusal comes before the batch, not after it: meanwhile the server can go on."""
    lot = Backlog(64, "skip", Cost(1.0))
    lot.add([waiting(n, 50, wanted_ms=n - 10) for n in range(40)], NOW)
    plan = lot.plan(NOW)
    batch = ids(plan.batch)
    assert batch == list(range(40 - len(batch), 40))
    assert len(batch) + 1 <= batch[0] - 10  # evaluated before the first of them is due
    assert len(batch) + 2 > batch[0] - 11  # one more would be too many
    assert sorted(ids(r.waiting for r in plan.refused)) == list(range(batch[0]))
    assert {r.refusal for r in plan.refused} == {"behind"}
    assert len(lot) == 0


def test_a_model_that_has_only_stuttered_still_answers_before_the_deadline():
    lot = Backlog(64, "skip", Cost(1.0))
    lot.add([waiting(n, 20, wanted_ms=-5) for n in range(4)], NOW)
    plan = lot.plan(NOW)
    assert (plan.refused, ids(plan.batch)) == ([], [0, 1, 2, 3])


def test_nothing_is_unbounded(monkeypatch):
    monkeypatch.setattr(backlogs, "WAITING_MAX", 20)
    monkeypatch.setattr(backlogs, "READ_BELOW", 10)
    skips, sees_all = Backlog(4, "skip"), Backlog(4, "all")
    for lot in (skips, sees_all):
        lot.add([waiting(n, 10_000) for n in range(25)], NOW)
    assert (skips.has_room, sees_all.has_room) == (True, False)
    assert ids(r.waiting for r in skips.plan(NOW).refused) == [0, 1, 2, 3, 4]
    assert sees_all.plan(NOW).refused == []
    while len(sees_all) >= 10:
        sees_all.plan(NOW)
    assert sees_all.has_room
