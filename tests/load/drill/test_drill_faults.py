"""Check that faults take effect on a process, and that they are undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from rdv.load.drill.copy_server import _is_part_of
from rdv.load.drill.faults import can_fill_disks, send_signal, stopped, without_room

WRITER = """
import errno, sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b"x")
        print("written", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""


@contextmanager
def writer(path):
    """Run a process that writes a byte for each line that it is sent, and prints the result."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def write():
            process.stdin.write("go\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield process, write
        process.stdin.close()


@pytest.mark.skipif(not can_fill_disks(), reason="prlimit is Linux's")
def test_no_room_and_room_again_whatever_happens(tmp_path):
    with writer(tmp_path / "file") as (process, write):
        assert write() == "written"
        with suppress(KeyError), without_room([process.pid, 2**22 + 1]):
            assert write() == "EFBIG"
            raise KeyError
        assert write() == "written"


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="waits for a stop by waitid")
def test_a_stopped_process_goes_on_whatever_happens(tmp_path):
    with writer(tmp_path / "file") as (process, write):
        assert write() == "written"
        with suppress(KeyError), stopped(process.pid):
            process.stdin.write("go\n")
            process.stdin.flush()
            assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            raise KeyError
        assert process.stdout.readline() == "written\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_the_chosen_process_is_signalled(tmp_path):
    """Signals to process 0 would reach the whole process group of the test."""
    send_signal(0, signal.SIGKILL)
    send_signal(-1, signal.SIGKILL)
    with writer(tmp_path / "file") as (process, write):
        assert write() == "written"  # by now it has its command line
        assert _is_part_of(process.pid, str(tmp_path / "file"))
        assert not _is_part_of(process.pid, str(tmp_path))
