"""Check that models' child processes end with them and that models get no secrets.

The children end however `rdv serve` ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Served

from rdv.system.processes import command_line_of, processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS has process groups alone")

# Each kind of child writes its process id into its own file and waits for the test's end.
MODEL = """
import os, signal, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
TEST = "/proc/{test}"  # also when the test itself is killed, nothing stays
SLEEP = '''
import os, time
open({path!r}, 'w').write(str(os.getpid()) + '.')
while os.path.exists({test!r}):
    time.sleep(1)
'''

def note(name):
    with open(os.path.join(HERE, name), "w") as file:
        file.write(f"{os.getpid()}.")

def stay(name):
    note(name)
    while os.path.exists(TEST):
        time.sleep(1)
    os._exit(0)

def script(name):
    return [sys.executable, "-c", SLEEP.format(path=os.path.join(HERE, name), test=TEST)]

def load():
    subprocess.Popen(script("plain.pid"))
    subprocess.Popen(script("session.pid"), start_new_session=True)
    if not os.fork():
        os.setsid()
        if not os.fork():
            stay("daemon.pid")
        os._exit(0)
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.execve(sys.executable, script("daemon-exec.pid"), {})
        os._exit(0)

def predict(rows):
    if any(row.get("die") for row in rows):
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"score": 0.5, "pid": os.getpid(), "env": dict(os.environ),
             "block": open("/proc/self/environ").read()} for _ in rows]
"""


def model() -> str:
    return MODEL.replace("{test}", str(os.getpid()))


KINDS = ("plain", "session", "daemon", "daemon-exec")

SCHEDULE = """
sla_ms = 20000
default = { score = 0.0 }
[[step]]
accept = ["m"]
"""
STAGES = [(), ("--in-process",), ("--direct", "m")]


@pytest.fixture
def parent(decision: Path) -> Iterator[Path]:
    """Create a decision with one model that has children; kill all that the test leaves.

    The children are found by the path of the decision in their command lines.
    """
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    (decision / "rdv.toml").write_text(text + '\n[models.m]\npath = "models/m.py"\n')
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    (decision / "models/m.py").write_text(model())
    yield decision
    place = os.fsencode(decision.resolve())
    while left := [pid for pid in processes() if place in command_line_of(pid)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        select.select([], [], [], 0.05)


def children(decision: Path) -> dict[str, int]:
    """Wait until all children run, return a pidfd for each, and delete their pid files."""
    found = {}
    for kind in KINDS:
        path = decision / "models" / f"{kind}.pid"
        while not (path.exists() and path.read_text().endswith(".")):
            select.select([], [], [], 0.05)
        found[kind] = os.pidfd_open(int(path.read_text()[:-1]))
        path.unlink()
    return found


def assert_ended(fds: dict[str, int]) -> None:
    for kind, fd in fds.items():
        assert select.select([fd], [], [], 30)[0], f"the child {kind!r} lives on"
        os.close(fd)


@pytest.mark.parametrize("stage", STAGES, ids=["full", "in-process", "direct"])
def test_they_end_with_an_orderly_end(parent, start, stage):
    served = Served(start("serve", parent, *stage))
    served.until("listening on")
    found = children(parent)
    assert served.end() == 0
    assert_ended(found)


def test_they_end_with_a_swap_with_their_worker_and_with_a_killed_serve(parent, serve, rdv, start):
    served = serve()
    first = children(parent)
    (parent / "models/m.py").write_text(model() + "\n# edited\n")
    second = children(parent)
    assert_ended(first)
    served.until(r"m-0 is ready")
    rdv("ask", parent, '{"die": true}')
    third = children(parent)
    assert_ended(second)
    served.until(r"m-0 is ready")
    while rdv("ask", parent, "{}", "--json").row()["model"] != "m":
        pass  # the server does not know yet that it is up again
    served.process.kill()
    assert_ended(third)


def test_the_next_serve_ends_what_a_killed_worker_and_serve_have_left(parent, serve, rdv, start):
    served = serve()
    found = children(parent)
    pid = rdv("ask", parent, "{}", "--json").row()["result"]["pid"]
    os.kill(served.process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    ends = select.select([found["daemon"]], [], [], 0.2)[0]
    again = serve()
    again.until(r"an earlier run had left behind") if not ends else None
    # A program that was started with an empty environment cannot be recognised as rdv's.
    left = found.pop("daemon-exec")
    assert_ended(found)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(left, signal.SIGKILL)
    assert_ended({"daemon-exec": left})
    assert again.end() == 0


@pytest.mark.parametrize("stage", STAGES, ids=["full", "in-process", "direct"])
def test_a_model_gets_the_variables_that_it_is_given_and_no_others(parent, start, rdv, stage):
    settings = parent / "rdv.toml"
    text = settings.read_text().replace("[models.m]", '[models.m]\nenv = ["MODEL_KEY", "NOT_SET"]')
    settings.write_text('env = ["SHARED_KEY"]\n' + text)
    secrets = {"AWS_SECRET_ACCESS_KEY": "s3cret", "MODEL_KEY": "k1", "SHARED_KEY": "k2"}
    usual = {"OMP_NUM_THREADS": "1", "https_proxy": "http://proxy", "LC_TIME": "C"}
    served = Served(start("serve", parent, *stage, env={**os.environ, **secrets, **usual}))
    served.until("listening on")
    result = rdv("ask", parent, "{}", "--json").row()["result"]
    assert result["env"].items() >= {**usual, "MODEL_KEY": "k1", "SHARED_KEY": "k2"}.items()
    assert "NOT_SET" not in result["env"]
    assert "s3cret" not in json.dumps(result)
    if not stage:
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                words = Path("/proc", entry, "cmdline").read_bytes()
                block = Path("/proc", entry, "environ").read_bytes()
            except OSError:
                continue
            if b"component" in words and os.fsencode(parent.resolve()) in words:
                assert b"s3cret" not in block
    assert served.end() == 0


def test_a_variable_with_a_value_in_env_is_refused(parent, rdv):
    settings = parent / "rdv.toml"
    settings.write_text(settings.read_text().replace("[models.m]", '[models.m]\nenv = ["A=b"]'))
    done = rdv("serve", parent)
    assert done.code == 3
    assert "models.m.env" in done.err
    assert "A=b" not in done.err
