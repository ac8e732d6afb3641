"""Check which versions are loaded as an alias moves, and when the gate is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.decision.registry import Asked, InvalidRegistryUri, RegistryState, RegistryUri, parse_uri
from rdv.mlflow.follow import DAY_NS, follow, is_to_judge

VERSIONS = st.integers(1, 4).map(str)
STATE = RegistryState(uri="models:/fraud@champion")


def test_a_moved_alias_loads_its_version_beside_the_champion():
    first = follow(STATE, "gbm", "1", "gbm", 1)
    assert first.versions == {"gbm": "1"}
    assert first.asked is None
    second = follow(first, "gbm", "2", "gbm", 2)
    assert second.versions == {"gbm": "1", "gbm-b": "2"}
    assert second.asked == Asked(model="gbm-b", version="2", over="gbm", since_ns=2)
    assert follow(second, "gbm", "2", "gbm", 3) == second


def test_after_a_promotion_the_next_version_takes_the_other_place():
    both = follow(follow(STATE, "gbm", "1", "gbm", 1), "gbm", "2", "gbm", 2)
    promoted = follow(both, "gbm", "2", "gbm-b", 3)
    assert promoted.versions == both.versions
    assert promoted.asked is None
    third = follow(promoted, "gbm", "3", "gbm-b", 4)
    assert third.versions == {"gbm": "3", "gbm-b": "2"}
    assert third.asked == Asked(model="gbm", version="3", over="gbm-b", since_ns=4, replaced="1")
    assert follow(third, "gbm", "2", "gbm-b", 5).versions == {"gbm": "1", "gbm-b": "2"}


def test_an_alias_that_moves_back_withdraws_what_has_asked():
    both = follow(follow(STATE, "gbm", "1", "gbm", 1), "gbm", "2", "gbm", 2)
    assert follow(both, "gbm", "1", "gbm", 3).versions == {"gbm": "1"}
    moved_on = follow(both, "gbm", "3", "gbm", 3)
    assert moved_on.versions == {"gbm": "1", "gbm-b": "3"}
    assert follow(moved_on, "gbm", "1", "gbm", 4).versions == {"gbm": "1"}


def test_a_model_that_no_schedule_names_takes_the_new_version_at_once():
    first = follow(STATE, "gbm", "1", "", 1)
    assert follow(first, "gbm", "2", "", 2) == RegistryState(uri=STATE.uri, versions={"gbm": "2"})


def test_lost_records_are_made_anew_for_the_model_that_the_schedule_prefers():
    assert follow(STATE, "gbm", "5", "gbm-b", 1).versions == {"gbm": "5", "gbm-b": "5"}
    only = RegistryState(uri=STATE.uri, versions={"gbm": "4"})
    assert follow(only, "gbm", "5", "gbm-b", 1).versions == {"gbm": "4", "gbm-b": "5"}


@given(st.lists(st.tuples(VERSIONS, st.sampled_from(["gbm", "gbm-b", "same"])), max_size=20))
def test_the_champions_version_changes_only_by_a_promotion(steps):
    state, champion = follow(STATE, "gbm", "1", "gbm", 0), "gbm"
    for now, (wanted, promoted) in enumerate(steps, 1):
        if promoted in state.versions:
            champion = promoted
        before = state
        state = follow(before, "gbm", wanted, champion, now)
        assert state.versions[champion] == before.versions[champion]
        assert set(state.versions) <= {"gbm", "gbm-b"}
        assert "gbm" in state.versions
        if state.versions[champion] == wanted:
            assert state.asked is None
        else:
            assert state.asked is not None
            assert state.asked.over == champion
            assert state.versions[state.asked.model] == state.asked.version == wanted
        assert follow(state, "gbm", wanted, champion, now + 1) == state


def test_each_look_of_the_gate_comes_after_twice_as_many_requests_or_a_day():
    asked = Asked(model="gbm-b", version="2", over="gbm", since_ns=0)
    assert not is_to_judge(asked, 999, 1, 1000, 10)
    assert is_to_judge(asked, 1000, 1, 1000, 10)
    once = Asked(
        model="gbm-b", version="2", over="gbm", since_ns=0, looks=1, scored=1000, verdict="fail"
    )
    assert not is_to_judge(once, 1999, 1, 1000, 10)
    assert is_to_judge(once, 2000, 1, 1000, 10)
    assert is_to_judge(once, 1001, DAY_NS, 1000, 10)
    assert not is_to_judge(once, 1000, DAY_NS, 1000, 10)
    assert not is_to_judge(once, 2000, 1, 1000, 1)
    passed = Asked(
        model="gbm-b", version="2", over="gbm", since_ns=0, looks=1, scored=1000, verdict="pass"
    )
    assert not is_to_judge(passed, 10_000, 1, 1000, 10)


NAMES = st.text(st.characters(exclude_characters="/:\0\n", codec="utf-8"), min_size=1).filter(
    str.strip
)


@given(NAMES, st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True), st.integers(0, 10**9))
def test_a_path_of_a_registry_is_read_as_it_is_written(name, alias, number):
    for uri in (RegistryUri(name, alias, ""), RegistryUri(name, "", str(number))):
        if "@" in name and uri.version:
            continue
        assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text", ["models:/fraud", "models:/fraud/latest", "models:/@a", "models:/a@", "models://h/a"]
)
def test_a_path_that_names_no_version_says_how_to_write_one(text):
    with pytest.raises(InvalidRegistryUri) as caught:
        parse_uri(text)
    assert "models:/fraud@champion" in caught.value.hint()
