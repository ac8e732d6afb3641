"""Check that others go on from the commits when a member is killed, is stopped, or leaves."""

import signal

import pytest
from group_kit import Parent


@pytest.fixture
def parent(tmp_path):
    parent = Parent(tmp_path / "stream")
    yield parent
    parent.check_owners()
    parent.close()


def test_after_a_kill_the_survivor_goes_on_from_the_committed_offset(parent):
    sent = parent.send(100)
    killed = parent.start(commit="each", batch=5, budget=40)
    parent.until(lambda: len(killed.of("committed")) == 8)
    killed.tell("poll 3")
    parent.until(lambda: len(killed.offsets) == 43 and len(killed.of("committed")) == 9)
    killed.kill()
    survivor = parent.start()
    parent.until(lambda: len(survivor.offsets) == 57)
    assert survivor.offsets[0] == ("t", 0, 43)
    assert set(parent.offsets()) == sent


def test_what_a_killed_member_had_not_committed_is_processed_again(parent):
    sent = parent.send(100)
    killed = parent.start(batch=10, budget=20, session_timeout_ms=60_000)
    parent.until(lambda: len(killed.offsets) == 20)
    killed.tell("commit")
    parent.until(lambda: killed.of("committed"))
    killed.tell("poll 30")
    parent.until(lambda: len(killed.offsets) == 50)
    survivor = parent.start(session_timeout_ms=60_000)
    parent.until(lambda: survivor.of("owns"))
    assert survivor.owns == set()
    killed.kill()
    parent.until(lambda: len(survivor.offsets) == 80)
    assert survivor.offsets == [("t", 0, n) for n in range(20, 100)]
    assert set(parent.offsets()) == sent


def test_a_stopped_member_is_replaced_fenced_and_rejoins(parent):
    parent.send(50)
    zombie = parent.start(batch=10, budget=10)
    parent.until(lambda: len(zombie.offsets) == 10)
    zombie.signal(signal.SIGSTOP)
    heir = parent.start(commit="each", batch=50)
    parent.until(lambda: len(heir.offsets) == 50 and heir.of("committed"))
    before = parent.stream.committed("g")
    zombie.tell("commit")
    zombie.signal(signal.SIGCONT)
    parent.until(lambda: zombie.of("fenced") or zombie.of("committed"))
    assert not zombie.of("committed")
    assert parent.stream.committed("g") == before == {("t", 0): 50}
    old_name = zombie.of("owns")[-1]["member"]
    zombie.tell("poll 1000")
    parent.until(lambda: len(zombie.of("owns")) == 2)
    assert zombie.owns == set()
    assert zombie.of("owns")[-1]["member"] != old_name
    assert len(parent.stream.group_state("g").members) == 2
    heir.tell("close")
    parent.until(lambda: zombie.owns == {("t", 0)})
    new = parent.send(5)
    parent.until(lambda: len(zombie.offsets) == 15)
    assert set(zombie.offsets[10:]) == new


def test_a_member_that_leaves_is_followed_at_once_and_nothing_committed_is_repeated(parent):
    sent = parent.send(60)
    leaver = parent.start(commit="each", batch=6, budget=30, session_timeout_ms=60_000)
    parent.until(lambda: len(leaver.of("committed")) == 5)
    heir = parent.start(session_timeout_ms=60_000)
    parent.until(lambda: heir.of("owns"))
    leaver.tell("close")
    parent.until(lambda: len(heir.offsets) == 30 and leaver.of("closed"))
    assert sorted(parent.offsets()) == sorted(sent)
