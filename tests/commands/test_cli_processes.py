"""Check what only a real process can show: pipes, signals, terminals, and imports."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rdv.stream import open_stream


def send(topic: str, *values: bytes) -> None:
    with open_stream("s") as stream, stream.producer() as producer:
        for value in values:
            producer.send(topic, value)


def test_follow_shows_what_other_processes_append_until_interrupted(stream, start):
    send("t", b'"old"\n')
    follower = start("tail", "-f", "s")
    assert json.loads(follower.stdout.readline())["value"] == "old"
    appender = start("stream", "append", "s:t")
    appender.stdin.write(b'"new"\n"half')
    appender.stdin.flush()
    # The complete line arrives although its writer is still running.
    assert json.loads(follower.stdout.readline())["value"] == "new"
    out, err = appender.communicate(b'"')
    assert (appender.returncode, out, b"appended 2 records" in err) == (0, b"", True)
    assert json.loads(follower.stdout.readline())["value"] == "half"
    send("made-later", b'"first"\n')
    row = json.loads(follower.stdout.readline())
    assert (row["topic"], row["value"]) == ("made-later", "first")
    follower.send_signal(signal.SIGINT)
    assert follower.communicate() == (b"", b"")
    assert follower.returncode == 130


def test_follow_only_what_is_new(stream, start):
    send("t", b"old\n")
    follower = start("tail", "-f", "-n", 0, "s:t", "--format", "table")
    assert follower.stdout.readline().split()[0] == b"TIME"
    # The header is written once the offset to continue from is known.
    send("u", b"another topic\n")
    send("t", b"new\n")
    assert follower.stdout.readline().rstrip().endswith(b"new")


def test_follow_ends_when_its_output_is_closed(stream, start):
    follower = start("tail", "-f", "s")
    send("t", b"1\n")
    follower.stdout.readline()
    follower.stdout.close()
    assert follower.wait() == 141
    assert follower.stderr.read() == b""


def test_a_pipe_that_closes_early_is_quiet(stream, start):
    with open_stream("s") as opened, opened.producer() as producer:
        producer.send_many("t", [b"x" * 100 + b"\n"] * 20_000)
    tail = start("tail", "s", "--since", "1h")
    tail.stdout.readline()
    tail.stdout.close()
    assert tail.stderr.read() == b""
    assert tail.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_under_the_output_is_an_error_not_a_trace(ten, command_line):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command_line("tail", "s"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"error: cannot write or read: No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["tail", "nowhere", "--json"], 3, "stream_not_found"),
        (["tail", "s", "--since", "soon", "--json"], 2, "invalid_quantity"),
        (["tail", "s", "--json", "--what"], 2, "wrong_usage"),
        (["status", "nowhere", "--json"], 3, "decision_not_found"),
    ],
)
def test_an_error_of_a_json_command_is_json(ten, command_line, arguments, exit_code, code):
    done = subprocess.run(command_line(*arguments), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (exit_code, b"")
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == code
    assert error["message"]


def test_interrupted_append_keeps_and_tells_what_it_has(stream, start):
    follower = start("tail", "-f", "s")
    appender = start("stream", "append", "s:t")
    appender.stdin.write(b"1\n2\n")
    appender.stdin.flush()
    follower.stdout.readline()
    follower.stdout.readline()
    appender.send_signal(signal.SIGINT)
    assert appender.wait() == 130
    assert appender.stderr.read().startswith(b"appended 2 records to s:t\n")


def run_on_terminal(
    arguments: list[str], typed: bytes = b"", **environment: str
) -> tuple[int, str]:
    """Run with a terminal as stdin, stdout and stderr; return the exit code and all output."""
    leader, terminal = pty.openpty()
    process = subprocess.Popen(
        arguments,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, **environment},
    )
    os.close(terminal)
    os.write(leader, typed)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux: all processes have closed the terminal
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    return process.wait(), shown.decode()


def test_on_a_terminal_tail_is_a_table_cut_to_its_width(stream, command_line):
    send("t", b"\x1b]0;title\x07" + "\u6f22".encode() * 100)
    code, shown = run_on_terminal(command_line("tail", "s"), COLUMNS="80")
    assert code == 0
    head, line = shown.splitlines()
    assert head.startswith("\x1b[1mTIME ")
    assert "\\x1b]0;title\\x07" in line
    assert line.endswith("…")
    assert "\x07" not in line


def test_no_color_is_respected(stream, command_line):
    send("t", b"x\n")
    code, shown = run_on_terminal(command_line("tail", "s"), NO_COLOR="1")
    assert (code, "\x1b" in shown) == (0, False)
    code, shown = run_on_terminal(command_line("stream", "info", "nowhere"), NO_COLOR="1")
    assert (code, shown.splitlines()[0][:6]) == (3, "error:")


def test_tables_on_a_terminal(stream, command_line):
    code, shown = run_on_terminal(command_line("stream", "topics", "s"))
    assert code == 0
    assert "partitions" in shown
    assert "─" in shown


def test_a_terminal_is_asked_before_anything_is_deleted(ten, command_line):
    delete = command_line("stream", "topics", "s:t", "--delete")
    code, shown = run_on_terminal(delete, typed=b"n\n")
    assert code == 0
    assert "Delete topic t and its 10 records? [y/N]" in shown
    assert "nothing deleted" in shown
    assert Path("s/t").exists()
    code, shown = run_on_terminal(delete, typed=b"yes\n")
    assert "deleted topic t" in shown
    assert not Path("s/t").exists()


LIGHT = """
import sys
from rdv.__main__ import main
code = main({arguments!r})
heavy = {heavy!r} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def test_nothing_heavy_is_imported_before_it_is_needed(ten):
    never = {"pydantic", "rich", "numpy", "pyarrow"}
    for arguments, heavy in (
        (["--help"], never | {"rdv.stream", "msgspec", "orjson"}),
        (["stream", "append", "--help"], never | {"rdv.stream", "msgspec", "orjson"}),
        (["stream", "info", "s"], never | {"orjson"}),
        (["tail", "s"], never),
        (["load", "--help"], never | {"rdv.load.generator", "rdv.decision", "uvloop", "asyncio"}),
        (["serve", "--help"], never | {"rdv.serve.supervisor", "rdv.decision", "asyncio"}),
    ):
        script = LIGHT.format(arguments=arguments, heavy=heavy)
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), arguments


def test_a_component_starts_without_what_only_people_need(tmp_path):
    heavy = {"pydantic", "rich", "numpy", "pyarrow", "typer", "watchfiles"}
    script = LIGHT.format(arguments=["component", "server", "nowhere"], heavy=heavy)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: no decision in %b" % bytes(tmp_path / "nowhere"))
