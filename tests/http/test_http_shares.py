"""Check the arithmetic of the clients' shares of places."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rdv.http.shares import Shares

CLIENTS = ["a", "b", "c", "d"]


class SharesMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.shares, self.held = Shares(20, 0.9), dict.fromkeys(CLIENTS, 0)

    @rule(client=st.sampled_from(CLIENTS), count=st.integers(1, 5))
    def take(self, client, count):
        if self.shares.admits(client, count):
            self.shares.take(client, count)
            self.held[client] += count

    @rule(data=st.data())
    def give(self, data):
        holders = [client for client in CLIENTS if self.held[client]]
        if holders:
            client = data.draw(st.sampled_from(holders))
            count = data.draw(st.integers(1, self.held[client]))
            self.shares.give(client, count)
            self.held[client] -= count

    @invariant()
    def counts_agree_and_are_bounded(self):
        assert self.shares.taken == sum(self.held.values()) <= 20
        assert self.shares.clients == len(self.shares._held) == sum(map(bool, self.held.values()))
        assert [self.shares.held(client) for client in CLIENTS] == list(self.held.values())

    @invariant()
    def a_newcomer_finds_a_place_unless_many_have_taken_them(self):
        holders = [client for client in CLIENTS if self.held[client]]
        if len(holders) == 1 and self.held[holders[0]] < 20:
            assert self.shares.admits("newcomer")


TestShares = SharesMachine.TestCase


def fill(shares, client):
    while shares.admits(client):
        shares.take(client)
    return shares.held(client)


@settings(deadline=None)
@given(st.integers(2, 3_000), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_one_client_has_nearly_all_and_never_the_last(limit, share):
    shares = Shares(limit, share)
    held = fill(shares, "greedy")
    share = min(share, max(0.5, 1 - 20 / limit))
    assert held <= limit - 1
    assert limit * share - 1 <= held <= limit * share + 1
    assert shares.admits("other")


@settings(deadline=None)
@given(st.integers(100, 3_000))
def test_places_that_a_heavy_client_frees_go_to_others_until_shares_are_equal(limit):
    shares = Shares(limit, 0.9)
    fill(shares, "greedy")
    for _ in range(3 * limit):  # requests end and arrive
        if shares.held("greedy"):
            shares.give("greedy")
        for client in ("other", "greedy"):
            if shares.admits(client):
                shares.take(client)
    left = max(limit * 0.1, min(20, limit / 2))
    assert abs(shares.held("greedy") - shares.held("other")) <= left + 1
    assert shares.taken >= limit - left - 1


@pytest.mark.parametrize(("limit", "share"), [(1, 0.9), (1, 1), (7, 1)])
def test_without_shares_any_client_may_take_a_place(limit, share):
    assert fill(Shares(limit, share), "a") == limit


def test_a_lower_limit_holds_at_once():
    shares = Shares(10, 0.9)
    fill(shares, "a")
    shares.change(5, 0.9)
    assert not shares.admits("b")
    shares.give("a", 5)
    assert shares.admits("b")


@settings(deadline=None)
@given(st.integers(24, 5_000), st.sampled_from([0.5, 0.9, 0.99]))
def test_one_heavy_client_leaves_ten_others_a_place_each(limit, share):
    """This also holds where the limit is small."""
    shares = Shares(limit, share)
    fill(shares, "greedy")
    for other in range(10):
        assert shares.admits(f"other-{other}")
        shares.take(f"other-{other}")
