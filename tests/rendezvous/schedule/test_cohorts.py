"""Check that cohorts are stable per key, in proportion, and different under another salt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.schedule import InvalidShares, assign_cohort

quick = settings(derandomize=True, deadline=None, max_examples=100)
shares = st.lists(st.integers(0, 25), min_size=1, max_size=4).map(
    lambda parts: {f"c{number}": part / 100 for number, part in enumerate(parts)}
)


@given(st.text(), st.text(max_size=80), shares)
@quick
def test_the_same_key_gets_the_same_cohort(key, salt, shares) -> None:
    assert assign_cohort(key, salt, shares) == assign_cohort(key, salt, dict(shares))


@given(st.text(max_size=10), shares)
@settings(derandomize=True, deadline=None, max_examples=15)
def test_shares_are_kept(salt, shares) -> None:
    """With 5,000 keys a cohort is within five standard deviations of its share."""
    count = 5_000
    dealt = [assign_cohort(f"user-{number}", salt, shares) for number in range(count)]
    for cohort, share in [*shares.items(), (None, 1 - sum(shares.values()))]:
        spread = 5 * (count * share * (1 - share)) ** 0.5
        assert abs(dealt.count(cohort) - count * share) <= spread + 1e-6


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
@quick
def test_a_growing_share_keeps_its_members(key, small, large) -> None:
    small, large = sorted((small, large))
    if assign_cohort(key, "s", {"b": small}) == "b":
        assert assign_cohort(key, "s", {"b": large}) == "b"


def test_another_salt_deals_anew() -> None:
    keys = [f"user-{number}" for number in range(2_000)]
    first = {key for key in keys if assign_cohort(key, "spring", {"b": 0.5})}
    again = {key for key in first if assign_cohort(key, "autumn", {"b": 0.5})}
    assert 0.4 < len(again) / len(first) < 0.6


def test_cohorts_of_known_keys_never_change() -> None:
    """Another hash would move customers into other experiments."""
    dealt = [assign_cohort(key, "s", {"a": 0.3, "b": 0.3}) for key in ("u1", "u2", "u3", "u4", "")]
    assert dealt == ["a", None, "b", "b", "a"]


def test_shares_of_one_and_zero() -> None:
    assert assign_cohort("k", "s", {"all": 1.0}) == "all"
    assert assign_cohort("k", "s", {"none": 0.0}) is None
    assert assign_cohort("k", "s", {}) is None


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ({"a": -0.1}, "share of cohort 'a': -0.1 is not between 0 and 1"),
        ({"a": float("nan")}, "nan is not between 0 and 1"),
        ({"a": 0.6, "b": 0.5}, "the shares are 1.1 together, more than 1"),
    ],
)
def test_shares_are_checked(shares, text) -> None:
    with pytest.raises(InvalidShares) as caught:
        assign_cohort("k", "s", shares)
    assert text in caught.value.text()
