"""Check the open requests of a proxy against a plain dictionary. Pure."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rdv.rendezvous.deadlines import GRACE_NS, deadline_ns, is_given_up
from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.serve.proxy.in_flight import InFlight, OpenRequest


def entry(number, due_ns):
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    return OpenRequest(None, request, None, 0, due_ns)


class DeskMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.in_flight, self.model, self.now, self.count = InFlight(100), {}, 0, 0

    @rule(wait=st.integers(0, 50), many=st.sampled_from([1, 1, 1, 40]))
    def take(self, wait, many):
        for _ in range(many):
            self.count += 1
            self.model[str(self.count)] = self.now + wait
            self.in_flight.take(entry(self.count, self.now + wait))

    @rule(data=st.data())
    def answered(self, data):
        if self.model:
            key = data.draw(st.sampled_from(sorted(self.model)))
            del self.model[key]
            assert self.in_flight.answered(key).request.id == key
            assert self.in_flight.answered(key) is None

    @rule(passed=st.integers(0, 30))
    def overdue(self, passed):
        self.now += passed
        due = {key for key, at in self.model.items() if at <= self.now}
        assert {e.request.id for e in self.in_flight.overdue(self.now)} == due
        for key in due:
            del self.model[key]

    @invariant()
    def agrees(self):
        assert len(self.in_flight) == len(self.model)
        assert self.in_flight.admits("x") == (len(self.model) < 100)
        assert self.in_flight.next_due_ns() == min(self.model.values(), default=None)
        assert len(self.in_flight._due) <= 4 * len(self.model) + 1_001


TestDesk = DeskMachine.TestCase


def test_the_agenda_does_not_grow_with_what_is_answered():
    in_flight = InFlight(10)
    in_flight.take(entry("oldest", 1))
    for number in range(20_000):
        in_flight.take(entry(number, 2))
        in_flight.answered(str(number))
    assert len(in_flight._due) < 2_000
    assert [e.request.id for e in in_flight.overdue(1)] == ["oldest"]


def test_everything_is_dropped_at_the_end():
    in_flight = InFlight(10)
    in_flight.take(entry(1, 5))
    assert [e.request.id for e in in_flight.drop_all()] == ["1"]
    assert in_flight.next_due_ns() is None


def request(host="h", start=10**9, deadline_ms=50.0):
    return Request("i", 1, host, start, "p", msgspec.Raw(b"1"), deadline_ms=deadline_ms)


def test_deadlines_count_from_the_proxys_clock_or_from_the_arrival_here():
    assert deadline_ns(request(), "h", 5 * 10**9) == 10**9 + 50_000_000
    assert deadline_ns(request(), "another host", 5 * 10**9) == 5 * 10**9 + 50_000_000
    assert deadline_ns(request(deadline_ms=None), "h", 0) == 10**9 + 60_000_000_000
    assert deadline_ns(request(deadline_ms=1e12), "h", 0) == 10**9 + 60_000_000_000


@given(st.integers(0, 200_000_000), st.sampled_from(["h", "another"]))
def test_given_up_is_after_the_backstop_and_never_for_a_foreign_clock(passed_ns, host):
    given_up = is_given_up(request(), host, 10**9 + passed_ns)
    assert given_up == (host == "h" and passed_ns > 50_000_000 + GRACE_NS)


@given(st.text(max_size=20), st.floats(0, 1))
def test_cohorts_are_stable_and_name_their_schedule(key, share):
    cohorts = Cohorts("salt", {"treatment": share}, {"treatment": "ab"})
    found = cohorts.of(key)
    assert found == cohorts.of(key)
    assert found in (("treatment", "ab"), (None, None))
    assert cohorts.of(None) == (None, None)


def test_a_share_is_about_what_it_says():
    cohorts = Cohorts("salt", {"treatment": 0.3}, {"treatment": "ab"})
    count = sum(cohorts.of(f"user-{n}")[0] is not None for n in range(5_000))
    assert 0.27 < count / 5_000 < 0.33


@given(st.lists(st.tuples(st.sampled_from(["take", "aside", "answer"]), st.integers(0, 60))))
def test_the_bytes_of_open_requests_stay_within_their_limit(steps):
    """Requests with places and requests set aside each have this limit."""
    in_flight, placed, aside, number = InFlight(100, 1.0, 100), {}, {}, 0
    for what, size in steps:
        if what == "take" and in_flight.admits("c", size):
            number += 1
            in_flight.take(msgspec.structs.replace(entry(number, 1), holder="c", size=size))
            placed[str(number)] = size
        elif what == "aside" and placed:
            key, taken = placed.popitem()
            aside[key] = taken
            for left in in_flight.set_aside(key):
                del aside[left.request.id]
        elif what == "answer" and (placed or aside):
            key = next(iter({**aside, **placed}))
            assert in_flight.answered(key).request.id == key
            placed.pop(key, None)
            aside.pop(key, None)
        assert sum(placed.values()) <= 100
        assert sum(aside.values()) <= 100
        assert len(in_flight) == len(placed) + len(aside)
        assert in_flight._bytes.taken == sum(placed.values())


def test_a_large_request_is_admitted_alone():
    in_flight = InFlight(10, 0.9, 100)
    assert in_flight.admits("a", 1_000)
    in_flight.take(msgspec.structs.replace(entry(1, 1), holder="a", size=1_000))
    assert not in_flight.admits("b", 1)
    in_flight.answered("1")
    in_flight.take(msgspec.structs.replace(entry(2, 1), holder="a", size=90))
    assert in_flight.admits("b", 5)
    assert not in_flight.admits("a", 5)
