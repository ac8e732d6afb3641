"""Check that idle connections give up their places, however fast others arrive."""

from __future__ import annotations

import pytest

from rdv.http import Limits
from rdv.http.shares import Places

PLACES = 40


class Idle:
    """An idle connection owes no answer. It counts how often it is inspected."""

    looks = 0
    is_trusted = False

    def __init__(self, client, since_ns):
        self.client, self.since_ns = client, since_ns
        self.has_given_way = False

    def has_unread(self):
        return False

    def idle_since_ns(self):
        Idle.looks += 1
        return self.since_ns

    def slow_since_ns(self):
        return None

    def give_way(self):
        self.has_given_way = True


class Busy(Idle):
    """A busy connection waits for an answer."""

    def idle_since_ns(self):
        Idle.looks += 1


@pytest.mark.parametrize("clients", [1, 3, 40])
def test_all_that_come_at_one_moment_find_a_place_while_others_are_idle(clients):
    places = Places(Limits(connections_max=PLACES))
    come = [Idle(f"client-{n % clients}", n) for n in range(50 * PLACES)]
    assert all(places.enter(one, 10**9) for one in come)
    stayed = [one for one in come if not one.has_given_way]
    assert 0 < len(stayed) <= PLACES
    assert come[-1] in stayed


def test_looking_for_an_idle_one_costs_no_more_the_more_come():
    places = Places(Limits(connections_max=PLACES))
    Idle.looks = 0
    for n in range(1_000):
        places.enter(Idle("client", n), 10**9)
    assert Idle.looks < 20 * 1_000
    busy = Places(Limits(connections_max=PLACES))
    Idle.looks = 0
    entered = [busy.enter(Busy("client", n), 10**9) for n in range(1_000)]
    assert 0 < sum(entered) < PLACES
    assert Idle.looks < 2 * PLACES  # inspected once, not for each new connection
