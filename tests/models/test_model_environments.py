"""Check that the making of a model's environment leaves no process behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from rdv.models import environments
from rdv.models.environments import EnvironmentUnusable, use_interpreter
from rdv.system.processes import is_process
from rdv.system.run import run_program

BUILD = """#!/bin/sh
# Builds a package as uv does: by processes of its own, one of which outlives it.
echo building
sleep 600 & echo $! > "$PIDS.new"
(sleep 600; echo never) & echo $! >> "$PIDS.new"
mv "$PIDS.new" "$PIDS"
{end}
"""
USE = (
    "import sys; from rdv.models.environments import use_interpreter as use; use({!r}, '', 'r.txt')"
)


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes `uv` a program that ends in the given way."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "r.txt").write_text("something\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))

    def make(end: str) -> None:
        program = tmp_path / "bin" / "uv"
        program.write_text(BUILD.replace("{end}", end))
        program.chmod(0o755)

    yield make
    for pid in started(tmp_path):
        if is_process(pid):
            os.kill(pid, signal.SIGKILL)


def started(place: Path) -> list[int]:
    file = place / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def all_have_ended(place: Path) -> bool:
    pids = started(place)
    assert len(pids) == 2
    return wait_until(lambda: not any(is_process(pid) for pid in pids), "a process was left")


@pytest.mark.parametrize("end", ["wait", "trap '' TERM; wait; wait", "exec sleep 600"])
def test_the_time_limit_ends_what_the_installer_has_started(builds, tmp_path, monkeypatch, end):
    monkeypatch.setattr(environments, "BUILD_S", 2)
    builds(end)
    with pytest.raises(EnvironmentUnusable, match="has not ended within 2 s: building") as caught:
        use_interpreter(str(tmp_path), "", "r.txt")
    assert caught.value.may_pass
    assert all_have_ended(tmp_path)


def test_what_outlives_the_installer_holds_nothing_up(builds, tmp_path):
    builds("exit 3")
    with pytest.raises(EnvironmentUnusable, match="cannot be installed: building"):
        use_interpreter(str(tmp_path), "", "r.txt")
    assert all_have_ended(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupt_of_rdv_ends_what_the_installer_has_started(builds, tmp_path, number):
    builds("wait")
    with subprocess.Popen([sys.executable, "-c", USE.format(str(tmp_path))]) as process:
        wait_until(lambda: started(tmp_path))
        process.send_signal(number)
    assert all_have_ended(tmp_path)


def test_a_process_that_leaves_the_group_and_writes_for_ever_holds_nothing_up():
    script = (
        "f=$(mktemp -u); mkfifo $f; setsid sh -c 'echo $$ >&2; echo > '$f'; exec yes' & "
        "read x < $f; rm $f; echo end >&2; exit 5"
    )
    ended = run_program(["sh", "-c", script], timeout_s=60)
    try:
        assert (ended.code, ended.by_us, ended.last_line("")) == (5, "", "end")
    finally:
        os.kill(int(ended.problem.split()[0]), signal.SIGKILL)


def test_output_and_lines_are_those_of_the_program():
    lines: list[str] = []
    script = "printf 'one\\ntwo'; cat; printf 'bad\\n' >&2; kill -TERM $$"
    ended = run_program(["sh", "-c", script], timeout_s=60, show=lines.append)
    assert (ended.code, ended.output, ended.problem) == (-15, b"one\ntwo", b"bad\n")
    assert sorted(lines) == ["bad", "one", "two"]
