"""Check who listens on a port, and whether an earlier run of the decision has left it behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from rdv.serve.supervisor.leftovers import VARIABLE, left_behind, run_marker
from rdv.system.processes import PortHolder, await_end, holder_of_port

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems show it to root only")


@linux
def test_the_holder_is_found():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        holder = holder_of_port(port)
        assert holder is not None
        assert holder.pid == os.getpid()
        assert str(os.getpid()) in str(holder)


def test_a_long_command_line_is_cut():
    assert len(str(PortHolder(1, "x" * 500))) < 120


@linux
def test_a_process_of_a_decision_is_left_behind_once_its_supervisor_has_ended(tmp_path):
    fraud, other = str(tmp_path / "fraud a b"), str(tmp_path / "other")
    ended = run_marker(fraud).rpartition(".")[0] + ".1"  # this process, at another start
    for marker, is_behind in ((ended, True), (run_marker(fraud), False), ("", False)):
        with subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, env={**os.environ, VARIABLE: marker}
        ) as process:
            assert (process.pid in left_behind(fraud)) == is_behind
            assert process.pid not in left_behind(other)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux has pidfds")
def test_the_end_of_a_process_is_waited_for():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert not await_end(process.pid, 0.0)
    process.stdin.close()
    assert await_end(process.pid, 30)
    process.wait()
    assert await_end(process.pid, 0.0)
