"""Check that a served decision survives truncated, deleted or overwritten wake-up boards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import Load, is_preferred, write_decision

STREAMS = ("input", "scores", "results", "control")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("boards") / "fraud"
    port = write_decision(directory)
    said = directory.parent / "said"
    with said.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "rdv", "serve", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    try:
        with Load([port]) as load:
            load.until(is_preferred, "preferred")
        yield directory, port, process, said
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def cut(board: Path):
    os.truncate(board, 0)


def cut_in_the_middle(board: Path):
    os.truncate(board, 5_000)


def delete(board: Path):
    board.unlink()


def write_over(board: Path):
    board.write_bytes(os.urandom(board.stat().st_size))


def garbage_behind_the_magic(board: Path):
    with board.open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * (board.stat().st_size - 8))


def another_version(board: Path):
    with board.open("r+b") as file:
        file.write(b"rdvbell9")


def replace(board: Path):
    aside = board.with_name("aside")
    aside.write_bytes(b"something else")
    aside.rename(board)


def delete_all(board: Path):
    shutil.rmtree(board.parent)


def delete_the_fifos(board: Path):
    for path in board.parent.iterdir():
        if path.name.isdigit():
            path.unlink()


HARM = [
    cut,
    cut_in_the_middle,
    delete,
    write_over,
    garbage_behind_the_magic,
    another_version,
    replace,
    delete_all,
    delete_the_fifos,
]


@pytest.mark.parametrize("harm", HARM)
def test_decisions_go_on_and_no_process_ends(served, harm):
    directory, port, process, said = served
    with Load([port]) as load:
        load.until(is_preferred, "preferred")
        for stream in STREAMS:
            harm(directory / stream / ".doorbells" / "board")
        # Once the boards have been made again, readers are notified again: the polling interval
        # of 200 ms exceeds the SLA, so that without wake-ups no answer would be preferred.
        for _ in range(50):
            load.until(is_preferred, "preferred again")
    assert process.poll() is None
    assert " ended (" not in said.read_text()
