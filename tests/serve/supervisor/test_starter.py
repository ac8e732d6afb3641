"""Check the processes forked from a server that has loaded all modules, and starts without it.

Each test is a process of its own, since a starter adopts the orphans of the processes it starts.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux only")

BEGIN = """
import asyncio, os, select, signal, subprocess, sys
from rdv.serve.supervisor import starter
from rdv.system.child import ChildProcess
from rdv.system.orphans import adopt_orphans, reap_orphans

def said(started):
    with open(started.stdout, "rb") as pipe:
        return pipe.read().decode()

def code(started):
    return os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])

component = f"{sys.executable} -m rdv component "

def command_line(pid, before=component + "forkserver"):
    # its pid is known before it has its own title
    while True:
        shown = subprocess.check_output(["ps", "-o", "args=", "-ww", "-p", str(pid)])
        if (text := shown.decode().strip()) != before:
            return text

def environment(pid):
    return open(f"/proc/{pid}/environ").read().rstrip("\\0").split("\\0")

def field(pid, number):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[number])

def gone(pid):
    fd = os.pidfd_open(pid)
    assert select.select([fd], [], [], 30)[0], f"process {pid} lives on"
    os.close(fd)

PARENT, SESSION = 1, 3
NOWHERE = ["server", os.path.join(sys.argv[1], "no where, ü"), "--number", "0"]
DECISION = ["server", os.path.join(sys.argv[1], "fraud"), "--number", "0"]
"""


def run(code, tmp_path):
    """Run a script that must print `fine` at its end, as an assert in a child goes unnoticed."""
    (tmp_path / "fraud").mkdir()
    (tmp_path / "fraud" / "rdv.toml").write_text('[models.a]\npath = "a.py"\n')
    (tmp_path / "fraud" / "schedules").mkdir()
    schedule = 'sla_ms = 50\ndefault = 0\n[[step]]\naccept = ["a"]\n'
    (tmp_path / "fraud" / "schedules" / "production.toml").write_text(schedule)
    command = [sys.executable, "-c", f"{BEGIN}{code}\nprint('fine')", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.stdout, done.stderr.decode()) == (b"fine\n", "")


FORKED = """
MARKER = "0123.45.67"
with starter.Starter(MARKER) as starts:
    asyncio.run(starts.ready())
    server = starts.start(DECISION, (), ChildProcess)
    assert field(server.pid, PARENT) == os.getpid()
    assert field(server.pid, SESSION) == server.pid
    assert command_line(server.pid) == component + " ".join(DECISION)
    assert f"RDV_RUN={MARKER}" in environment(server.pid)
    assert not [entry for entry in environment(server.pid) if entry.startswith("SPT_")]
    (pid,) = starts.own_pids()
    assert command_line(pid, '') == component + "forkserver"
    # Its pipe from us is not its stdin for long: a model may read that.
    fds = f"/proc/{server.pid}/fd"
    pipe = os.readlink(f"/proc/self/fd/{server.stdin}")
    assert pipe in [os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)]
    broken = starts.start(NOWHERE, (), ChildProcess)
    assert code(broken) == 3
    assert "no where, ü" in said(broken)
# Its parent's end is the end of its stdin; that of the fork server is none of its business.
assert os.waitpid(server.pid, os.WNOHANG) == (0, 0)
os.close(server.stdin)
assert code(server) == 0
"""


def test_a_forked_process_is_a_child_with_a_name_pipes_and_a_session_of_its_own(tmp_path):
    run(FORKED, tmp_path)


KILLED = """
with starter.Starter() as starts:
    asyncio.run(starts.ready())
    (pid,) = starts.own_pids()
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    assert not starts.own_pids()
    reap_orphans(set())  # there is no zombie of it in the way of orphans
    for _ in range(2):  # the long way first, by the next fork server once it is there
        server = starts.start(DECISION, (), ChildProcess)
        assert starts.own_pids() and pid not in starts.own_pids()
        asyncio.run(starts.ready())
        os.kill(server.pid, signal.SIGTERM)
        assert code(server) in (0, -signal.SIGTERM)
"""


def test_without_its_fork_server_it_starts_processes_all_the_same(tmp_path):
    run(KILLED, tmp_path)


STOPPED = """
starter.FORK_TIMEOUT_S = 0.05
with starter.Starter() as starts:
    asyncio.run(starts.ready())
    (pid,) = starts.own_pids()
    os.kill(pid, signal.SIGSTOP)
    broken = starts.start(NOWHERE, (), ChildProcess)
    assert code(broken) == 3
    assert "no where" in said(broken)
    assert pid not in starts.own_pids()
"""


def test_a_fork_server_that_does_not_answer_is_given_up(tmp_path):
    run(STOPPED, tmp_path)


ALONE = """
import socket
from rdv.serve.supervisor.forking import serve_forks
for has_read in (True, False):
    ours, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        ours.close()
        assert serve_forks(link) is None
        os._exit(0)
    link.close()
    assert select.select([ours], [], [], 30)[0]
    if has_read:
        ours.recv(64)
    ours.close()
    assert os.waitpid(pid, 0)[1] == 0
ours, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ours.close()
assert serve_forks(link) is None
"""


def test_a_fork_server_ends_with_its_supervisor_whatever_is_unread(tmp_path):
    run(ALONE, tmp_path)


LOADING = """
with starter.Starter() as starts:
    broken = starts.start(NOWHERE, (), ChildProcess)  # nobody has waited
    assert code(broken) == 3
    asyncio.run(starts.ready())
    broken = starts.start(NOWHERE, (), ChildProcess)
    assert code(broken) == 3
"""


def test_starting_a_process_blocks_no_other_work(tmp_path):
    run(LOADING, tmp_path)


ELSEWHERE = """
starter.adopt_orphans = lambda: False
with starter.Starter() as starts:
    asyncio.run(starts.ready())
    assert not starts.own_pids()
    server = starts.start(DECISION, (), ChildProcess)
    assert field(server.pid, SESSION) == server.pid
    os.close(server.stdin)
    os.kill(server.pid, signal.SIGTERM)
    assert code(server) in (0, -signal.SIGTERM)
"""


def test_where_nothing_can_be_adopted_nothing_is_forked(tmp_path):
    run(ELSEWHERE, tmp_path)


ORPHANS = """
assert adopt_orphans()
told, teller = os.pipe()
known = os.fork()
if not known:
    if not os.fork():
        os.write(teller, b"%d" % os.getpid())
        signal.pause()
    os._exit(7)
gone(known)
orphan = int(os.read(told, 99))
os.kill(orphan, signal.SIGKILL)
gone(orphan)
reap_orphans({known})
assert os.waitstatus_to_exitcode(os.waitpid(known, 0)[1]) == 7
reap_orphans(set())
assert not os.path.exists(f"/proc/{orphan}")
reap_orphans(set())
"""


def test_orphans_are_reaped_and_children_are_left_to_their_owners(tmp_path):
    run(ORPHANS, tmp_path)


LONG = """
with starter.Starter() as starts:
    asyncio.run(starts.ready())
    long = starts.start([*DECISION[:-1], "0" * 4_200], (), ChildProcess)
    shown = command_line(long.pid)
    assert shown.startswith(component + "server "), shown[:100]
    assert 4_000 < len(shown.encode()) < 5_000
    os.kill(long.pid, signal.SIGKILL)
    os.waitpid(long.pid, 0)
"""


def test_a_command_line_that_is_too_long_is_cut(tmp_path):
    run(LONG, tmp_path)
