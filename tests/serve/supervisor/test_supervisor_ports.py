"""Check how /proc shows which process listens on a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from rdv.system.ports import PortHolder, await_end, holder_of_port, is_left_behind, listening_inodes

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/net")

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1FA4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0 100
   1: 0100007F:1FA4 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  0 0 4712 1 0 20
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4713 1 0 100
   3: nonsense
"""


def test_only_who_listens_on_the_port():
    assert listening_inodes(TABLE, 8100) == {"4711"}
    assert listening_inodes(TABLE, 80) == {"4713"}
    assert listening_inodes(TABLE, 81) == set()
    assert listening_inodes("", 80) == set()


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
    assert len(str(PortHolder(1, ("x" * 500,)))) < 120


@linux
def test_only_a_proxy_of_the_same_decision_is_left_behind(tmp_path):
    (tmp_path / "fraud").mkdir()
    (tmp_path / "other").mkdir()
    here = os.getpid()

    def holder(*words):
        return PortHolder(here, ("python", "-m", "rdv", *words))

    fraud = str(tmp_path / "fraud")
    relative = os.path.relpath(fraud, os.readlink(f"/proc/{here}/cwd"))
    assert is_left_behind(holder("component", "proxy", fraud, "--number", "0"), fraud)
    assert is_left_behind(holder("component", "proxy", relative), fraud)
    assert not is_left_behind(holder("component", "proxy", fraud), str(tmp_path / "other"))
    assert not is_left_behind(holder("component", "server", fraud), fraud)
    assert not is_left_behind(PortHolder(here, ("nginx", "proxy", fraud)), fraud)
    assert not is_left_behind(PortHolder(here, ()), fraud)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux has pidfds")
def test_the_end_of_a_process_is_waited_for():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert not await_end(process.pid, 0.0)
    process.stdin.close()
    assert await_end(process.pid, 30)
    process.wait()
    assert await_end(process.pid, 0.0)
