"""Check that a command of a model ends with its process, however that ends."""

import os
import select
import signal
import subprocess
import sys

import pytest

from rdv.native import NATIVE
from rdv.system.child import Program, restart_delay_ms
from rdv.system.processes import children_of

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or NATIVE is None, reason="the kernel of Linux ends the child"
)

LOST = """
import os, sys
if os.environ:
    os.execve(sys.executable, [sys.executable, "-c", open({script!r}).read()], {{}})
sys.stdin.close()
while True:
    os.getppid() and __import__("time").sleep(1)
"""
PARENT = """
import sys, threading
from rdv.models import open_model
model = open_model(sys.argv[1], "m", command=[sys.executable, sys.argv[1] + "/lost.py"])
print(model._process.pid, flush=True)
threading.Event().wait()
"""


def lost_script(tmp_path):
    """Write a program that empties its environment and notices no end of its stdin."""
    path = tmp_path / "lost.py"
    path.write_text(LOST.format(script=str(path)))
    return path


def test_a_command_without_an_environment_ends_with_a_killed_parent(tmp_path):
    lost_script(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([child], [], [], 30)[0], "the command lives on"
    os.close(child)


def test_a_program_gets_its_descriptors_environment_and_directory(tmp_path):
    theirs, ours = os.pipe()
    os.set_inheritable(ours, True)
    script = 'pwd; echo "$A-$B" >&2; ls /proc/self/fd | tr "\\n" " "; ps -o sid= -p $$ | tr -d " "'
    with open(tmp_path / "err", "wb") as err:
        child = Program(
            ["sh", "-c", script],
            directory=str(tmp_path),
            environment={"A": "ü", "PATH": os.environ["PATH"]},
            stderr=err.fileno(),
            pass_fd=theirs,
        )
    assert child.ends_within(30)
    lines = os.read(child.stdout, 4096).decode().splitlines()
    assert lines[0] == os.path.realpath(tmp_path)
    *fds, session = lines[1].split()
    assert {"0", "1", "2", str(theirs)} <= set(fds)
    assert str(ours) not in fds
    assert session == str(child.pid)
    assert (tmp_path / "err").read_text() == "ü-\n"
    assert child.end() == "it ended with exit code 0"
    os.close(theirs)
    os.close(ours)


def test_a_broken_pipe_ends_a_program_as_in_a_shell():
    child = Program(["sh", "-c", "kill -PIPE $$; sleep 60"])
    assert child.ends_within(30)
    assert child.end() == "it was ended by SIGPIPE"


@pytest.mark.parametrize(
    ("command", "directory", "error"),
    [
        (["no-such-program"], ".", FileNotFoundError),
        (["/etc"], ".", PermissionError),
        (["true"], "/no/such/directory", FileNotFoundError),
        (["a\0b"], ".", ValueError),
    ],
)
def test_what_cannot_be_started_raises(command, directory, error):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        Program(command, directory=directory)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace():
    child = Program(["sh", "-c", "trap '' TERM; echo; while :; do sleep 60 & wait; done"])
    select.select([child.stdout], [], [], 30)
    assert child.end(signal.SIGTERM, grace_s=0.1) == "it closed its stdout"
    assert child.has_exited()


def test_the_first_restart_is_at_once_and_the_wait_is_bounded():
    assert [restart_delay_ms(count) for count in (0, 1, 2, 3)] == [0, 100, 200, 400]
    assert restart_delay_ms(100_000) == 10_000


REPLAY = """
import sys, threading
from rdv.analysis.replay.evaluator import Evaluator, Loading
evaluator = Evaluator(Loading(sys.argv[1], "m", {"path": "m.py"}))
print(evaluator.evaluate([b"1"]).texts[0].decode(), flush=True)
sys.stdin.read()
evaluator.close()
"""
STARTS_ONE = """
import os, subprocess
if not os.fork():
    os.setsid()
    os.execve("/bin/sleep", ["sleep", "600"], {})
child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
def predict(rows):
    return [child.pid] * len(rows)
"""


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_a_replayed_model_has_started_ends_with_the_replay(tmp_path, is_killed):
    (tmp_path / "m.py").write_text(STARTS_ONE)
    command = [sys.executable, "-c", REPLAY, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as replay:
        started = int(replay.stdout.readline())
        model = parent_of(started)
        fds = [os.pidfd_open(pid) for pid in (model, *children_of(model))]
        if is_killed:
            replay.kill()
    for fd in fds:
        assert select.select([fd], [], [], 30)[0], "a process lives on"
        os.close(fd)
    assert len(fds) == 3


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
