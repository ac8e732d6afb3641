"""Check that `rdv serve` recovers when a whole stream is deleted or replaced under it."""

from __future__ import annotations

import shutil

import pytest
from waiting import wait_until

from rdv.rendezvous.topology import STREAMS


@pytest.fixture
def await_answer(rdv, decision):
    def is_answered_by_a_model():
        answer = rdv("ask", decision, "{}", "--json")
        return answer.code == 0 and answer.row()["kind"] == "preferred"

    return lambda: wait_until(is_answered_by_a_model, "no answer of the champion")


def await_restart(served, decision, await_answer):
    served.until(r"deleted or replaced: .* \[stream_replaced\]$")
    served.up()
    await_answer()
    assert all((decision / name / "stream.toml").is_file() for name in STREAMS)


def test_streams_that_are_moved_replaced_and_deleted(decision, serve, rdv, await_answer):
    served = serve()
    await_answer()
    # The whole decision: its processes keep their files, and go on when it is back.
    decision.rename("elsewhere")
    decision.with_name("elsewhere").rename(decision)
    await_answer()

    shutil.copytree(decision / "scores", "copy", ignore=lambda *_: [".doorbells"])
    (decision / "scores").rename("before")
    decision.with_name("copy").rename(decision / "scores")
    await_restart(served, decision, await_answer)
    assert sum("[stream_replaced]" in line for line in served.lines) == 1

    # What cannot be made again is named, and the proxy goes on answering until it can be.
    shutil.rmtree(decision / "scores")
    (decision / "scores").write_text("not a directory")
    served.until(r"scores.* \[\w+\]$")
    answer = rdv("ask", decision, "{}", "--json")
    assert (answer.code, answer.row()["kind"]) == (0, "default")
    (decision / "scores").unlink()
    await_restart(served, decision, await_answer)

    for name in STREAMS:
        shutil.rmtree(decision / name)
    await_restart(served, decision, await_answer)
    assert served.end() == 0


@pytest.mark.soak
@pytest.mark.parametrize("name", STREAMS)
def test_one_stream_is_deleted(decision, serve, await_answer, name):
    served = serve()
    await_answer()
    shutil.rmtree(decision / name)
    await_restart(served, decision, await_answer)
    assert served.end() == 0
