"""Check the reports that wait for a locked partition of `scores` when their worker ends.

Their requests are not committed, so that the next worker reads them again. (A worker that skips
requests that it is too late for then reports a refusal.)
"""

from __future__ import annotations

import signal
import time
from zlib import crc32

import pytest
from running import DEADLINE_S, MODELS, Client, Decision, Load, held, is_preferred, write_decision
from waiting import wait_until

ASK_S = 1.0
"""How long requests are sent, in seconds: ten times the interval of commits."""


def make(directory, *, partitions=1, model=""):
    port = write_decision(directory, model=model)
    settings = directory / "rdv.toml"
    settings.write_text(f"partitions = {partitions}\n{settings.read_text()}")
    return Decision(directory, port)


def ask_while_held(decision, keys=("a",)):
    """Send requests for a while; return their ids. The champion's reports on them wait."""
    ids = []
    end_s = time.monotonic() + ASK_S
    with Client(decision.port) as client:
        while time.monotonic() < end_s:
            for key in keys:
                status, answer = client.post({"data": {"n": 1}, "key": key})
                assert (status, answer["model"]) in [(200, "mlp"), (200, "fast"), (200, None)]
                ids.append(answer["id"])
    return ids


def await_reports(decision, ids):
    wanted = set(ids)
    wait_until(
        lambda: wanted <= decision.reports("gbm").keys(), "some requests have no report", 0.1
    )


def assert_one_batch_failed_at_most(decision, ids):
    """Check that only the batch in which the worker was killed is reported as an error."""
    reports = decision.reports("gbm")
    failed = [number for number, id_ in enumerate(ids) if reports[id_].get("error", "")]
    assert failed == list(range(len(ids)))[min(failed, default=0) :][: len(failed)]
    assert len(failed) < len(ids) / 2


def end(decision, how):
    """End the champion's worker while the lock is held."""
    if how == "kill":
        decision.kill("gbm")
        return
    decision.signal("gbm", signal.SIGTERM)
    if how == "stop":
        decision.processes["gbm"].wait(DEADLINE_S)
    else:
        time.sleep(0.1)
        decision.kill("gbm")


@pytest.mark.parametrize("behind", ["skip", "all"])
@pytest.mark.parametrize("how", ["kill", "stop", "stop, then kill"])
def test_a_worker_that_ends_before_its_reports_are_written_leaves_them_to_the_next(
    tmp_path, how, behind
):
    decision = make(tmp_path / "fraud", model=f'when_behind = "{behind}"')
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred")
        with held(tmp_path / "fraud" / "scores" / "gbm" / "0" / "lock"):
            ids = ask_while_held(decision)
            end(decision, how)
        decision.start("gbm")
        await_reports(decision, ids)
        assert_one_batch_failed_at_most(decision, ids)
        with Load([decision.port]) as load:
            load.until(is_preferred, "preferred again")
    finally:
        decision.close()


@pytest.mark.parametrize("behind", ["skip", "all"])
def test_partitions_that_change_hands_before_their_reports_are_written(tmp_path, behind):
    """A second instance takes over a partition; then the first instance is killed."""
    decision = make(tmp_path / "fraud", partitions=2, model=f'when_behind = "{behind}"')
    keys = [next(k for k in map(str, range(99)) if crc32(k.encode()) % 2 == n) for n in (0, 1)]
    locks = [tmp_path / "fraud" / "scores" / "gbm" / f"{n}" / "lock" for n in (0, 1)]
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Client(decision.port) as client:
            for key in keys:
                while client.post({"data": {"n": 1}, "key": key})[1]["kind"] != "preferred":
                    pass
        with held(*locks):
            ids = ask_while_held(decision, keys)
            start_second(decision)
            decision.await_ready("gbm-1")
            more = ask_again(decision, keys)
            decision.kill("gbm")
        await_reports(decision, [*ids, *more])
    finally:
        decision.close()


def start_second(decision):
    arguments = ["worker", str(decision.directory), "gbm", "--instance", "1"]
    decision.processes["gbm-1"] = decision.start_process("gbm-1", arguments)


def ask_again(decision, keys):
    with Client(decision.port) as client:
        return [client.post({"data": {"n": 2}, "key": key})[1]["id"] for key in keys * 10]
