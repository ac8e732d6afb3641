"""Check members that come, leave, are killed or stopped at random while records keep coming."""

import random
import signal

import pytest
from group_kit import Parent


def freeze(parent, member):
    """Stop a member while it does not hold the group's lock: otherwise all others would wait."""
    count = len(member.of("frozen"))
    member.tell("freeze")
    parent.until(lambda: len(member.of("frozen")) > count)
    member.signal(signal.SIGSTOP)


def thaw(member):
    member.signal(signal.SIGCONT)
    member.tell("poll 1000000000")


def churn(path, seed, steps):
    random_ = random.Random(seed)
    parent = Parent(path, partitions=5)
    try:
        living, stopped, sent = [parent.start(commit="each")], [], set()
        for _ in range(steps):
            for partition in range(5):
                sent |= parent.send(random_.randint(1, 30), partition)
            deed = random_.choice(["start", "start", "kill", "close", "stop", "continue"])
            victim = random_.choice(living)
            parent.until(lambda v=victim: v.of("owns"))
            if deed == "start" and len(living) + len(stopped) < 4:
                living.append(parent.start(commit="each"))
            elif deed == "continue" and stopped:
                living.append(stopped.pop())
                thaw(living[-1])
            elif len(living) > 1 and deed != "start":
                living.remove(victim)
                if deed == "kill":
                    victim.kill()
                elif deed == "close":
                    victim.tell("close")
                    parent.until(lambda v=victim: v.of("closed"))
                else:
                    freeze(parent, victim)
                    stopped.append(victim)
        for member in stopped:
            thaw(member)
        ends = {("t", n): parent.stream.end("t", n) for n in range(5)}
        parent.until(lambda: parent.stream.committed("g") == ends)
        parent.until(lambda: sent <= set(parent.offsets()))
        parent.check_owners()
    finally:
        parent.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_missed_and_no_partition_has_two_owners(tmp_path, seed):
    churn(tmp_path / "stream", seed, 20)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 40))
def test_nothing_is_missed_and_no_partition_has_two_owners_for_long(tmp_path, seed):
    churn(tmp_path / "stream", seed, 40)
