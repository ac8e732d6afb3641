"""Check that, whichever process is killed or stopped under load, every accepted request is
answered and marked as what it is, and that the records agree with what the clients have seen.

Nothing here asserts on time except the tests' own timeout: the machine is shared. `-rP` shows how
many answers came later than SLA + 10 ms by the proxy's own clock.
"""

from __future__ import annotations

import signal

import pytest
from running import MODELS, Load, is_default, is_preferred


def ports(decision):
    return [decision.port, decision.port + 1]


@pytest.mark.parametrize("model", MODELS)
def test_a_killed_worker(decision, model):
    with Load(ports(decision)) as load:
        load.until(is_preferred, "preferred")
        decision.kill(model)
        load.more()
        if model == "gbm":
            load.until(lambda a: a["kind"] == "fallback", "a fallback")
        decision.restart(model)
        load.until(is_preferred, "preferred again")
    print(load.check(decision))
    assert not load.broken
    assert not load.refusals


def test_a_killed_server(decision):
    with Load(ports(decision)) as load:
        load.until(is_preferred, "preferred")
        decision.kill("server")
        load.until(is_default, "a default by the proxy")
        load.more(8)
        decision.restart("server")
        load.until(is_preferred, "preferred again")
    print(load.check(decision))
    assert not load.broken
    assert not load.refusals


def test_a_killed_proxy_of_two(decision):
    first, second = ports(decision)
    with Load([first, second]) as load:
        load.until(is_preferred, "preferred")
        decision.kill("proxy-0")
        load.until(lambda a: a["port"] == second and is_preferred(a), "of the other proxy")
        decision.restart("proxy-0")
        load.until(lambda a: a["port"] == first and is_preferred(a), "of the one that is back")
    print(load.check(decision))
    assert load.broken[first]
    assert not load.broken[second]


def test_all_processes_are_killed_at_once_and_restarted(decision):
    with Load(ports(decision)) as load:
        load.until(is_preferred, "preferred")
        names = list(decision.processes)
        decision.kill(*names)
        decision.restart(*names)
        load.until(is_preferred, "preferred again")
    print(load.check(decision))


def test_a_stopped_model(decision):
    with Load(ports(decision)) as load:
        load.until(is_preferred, "preferred")
        decision.signal("gbm", signal.SIGSTOP)
        load.until(lambda a: a["kind"] == "fallback" and a["step"] == 2, "a fallback")
        load.more()
        decision.signal("gbm", signal.SIGCONT)
        load.until(is_preferred, "preferred again")
    print(load.check(decision))
    assert not load.broken


def test_a_stopped_server(decision):
    with Load(ports(decision)) as load:
        load.until(is_preferred, "preferred")
        decision.signal("server", signal.SIGSTOP)
        load.until(is_default, "a default by the proxy")
        load.more(8)
        decision.signal("server", signal.SIGCONT)
        load.until(is_preferred, "preferred again")
    print(load.check(decision))
    assert not load.broken
