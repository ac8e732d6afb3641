"""Check members that join others at work: their partitions, the order, and no repetition."""

import pytest
from group_kit import Parent


@pytest.fixture
def make_parent(tmp_path):
    made = []

    def make(**options):
        made.append(Parent(tmp_path / "stream", **options))
        return made[-1]

    yield make
    for parent in made:
        parent.check_owners()
        parent.close()


def places(count):
    return {("t", n) for n in range(count)}


def are_shared(members, count):
    owned = [place for member in members for place in member.owns]
    sizes = [len(member.owns) for member in members]
    return len(owned) == count and set(owned) == places(count) and max(sizes) - min(sizes) <= 1


def test_with_commit_on_revoke_joins_and_leaves_repeat_nothing(make_parent):
    parent = make_parent(partitions=6)
    sent, members = set(), []
    for count in range(1, 4):
        members.append(parent.start(commit="revoke", session_timeout_ms=60_000))
        for n in range(6):
            sent |= parent.send(20, n)
        parent.until(lambda: are_shared(members, 6))
        assert count == len(members)
    members[0].tell("close")
    for n in range(6):
        sent |= parent.send(20, n)
    parent.until(lambda: members[0].of("closed") and are_shared(members[1:], 6))
    parent.until(lambda: len(parent.offsets()) >= len(sent))
    assert sorted(parent.offsets()) == sorted(sent)


def test_the_old_owner_has_let_go_before_the_new_one_gets_the_partition(make_parent):
    parent = make_parent(partitions=4)
    first = parent.start(commit="revoke", session_timeout_ms=60_000)
    parent.until(lambda: first.owns == places(4))
    second = parent.start(session_timeout_ms=60_000)
    parent.until(lambda: are_shared([first, second], 4))
    (revoked,) = first.of("revoke")
    assigned = [event for event in second.of("assign") if event["places"]]
    assert {tuple(p) for event in assigned for p in event["places"]} == second.owns
    assert {tuple(p) for p in revoked["places"]} == second.owns
    assert all(revoked["at"] < event["at"] for event in assigned)
    assert not first.of("fenced")


def test_members_beyond_the_partitions_are_idle_and_take_over_later(make_parent):
    parent = make_parent(partitions=2)
    members = [parent.start(session_timeout_ms=60_000) for _ in range(4)]
    parent.until(lambda: all(m.of("owns") for m in members) and are_shared(members, 2))
    for count in (3, 2):
        busy = next(m for m in members if m.owns)
        members.remove(busy)
        busy.kill()
        parent.until(lambda: are_shared(members, 2))
        assert len(members) == count
    sent = parent.send(10, 0) | parent.send(10, 1)
    parent.until(lambda: sent <= {p for m in members for p in m.offsets})


def test_a_latest_group_loses_nothing_between_first_assignment_and_rebalance(make_parent):
    parent = make_parent(partitions=2)
    old = parent.send(5, 0) | parent.send(5, 1)
    first = parent.start(start="latest", budget=1)
    parent.until(lambda: first.owns == places(2) or first.of("assign"))
    sent = parent.send(5, 0) | parent.send(5, 1)
    parent.until(lambda: first.offsets)
    first.kill()
    heirs = [parent.start(start="latest") for _ in range(2)]
    parent.until(lambda: sent <= {p for m in heirs for p in m.offsets})
    assert not old & set(parent.offsets())


def test_new_partitions_and_topics_reach_members_in_other_processes(make_parent):
    parent = make_parent(partitions=1)
    members = [parent.start(topics=None) for _ in range(2)]
    parent.until(lambda: sum(len(m.owns) for m in members) == 1)
    parent.stream.make_topic("t", 3)
    sent = parent.send(3, 0) | parent.send(3, 1) | parent.send(3, 2) | parent.send(3, 0, "new")
    parent.until(lambda: sent <= set(parent.offsets()))
    parent.until(lambda: [len(m.owns) for m in members] == [2, 2])
