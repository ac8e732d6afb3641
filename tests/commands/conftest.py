"""Run the command line: in this process to test its logic, as a process where that matters."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_kit import Served
from ports import free_port

from rdv.__main__ import main
from rdv.stream import open_stream


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def row(self):
        (row,) = self.rows()
        return row


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("RDV_") or name == "NO_COLOR"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RDV_CONSOLE_ENABLED", "false")  # hundreds of decisions are served
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def rdv(capfd, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """Run a command in this process."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        source = tmp_path / ".stdin"
        source.write_bytes(stdin)
        capfd.readouterr()
        with io.TextIOWrapper(source.open("rb")) as opened:
            monkeypatch.setattr(sys, "stdin", opened)
            code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def command_line() -> Callable[..., list[str]]:
    """Return the arguments that run `rdv` as a process."""

    def make(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "rdv", *map(str, arguments)]

    return make


@pytest.fixture
def start(command_line) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command with pipes; commands that still run at the end of the test are killed."""
    # A background job ignores SIGINT, and the command would inherit that; it inherits no handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(command_line(*arguments), **{**pipes, **options})
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stream(tmp_path, monkeypatch) -> Path:
    """Create a stream with the topic `t` (2 partitions) at the relative path `s`."""
    monkeypatch.chdir(tmp_path)
    with open_stream("s") as opened:
        opened.make_topic("t", 2)
    return Path("s")


@pytest.fixture
def ten(stream) -> Path:
    """Append the records 0 to 9 to `stream`, in the order of time, on both partitions in turn."""
    with open_stream("s") as opened, opened.producer() as producer:
        for number in range(10):
            producer.send("t", b"%d\n" % number, partition=number % 2)
    return stream


@pytest.fixture
def damaged(ten) -> Path:
    """Flip bits of the second record of partition 1 (the value 3) of `ten`."""
    values = ten / "t/1/00000000000000000000.jsonl"
    data = bytearray(values.read_bytes())
    assert data[2:4] == b"3\n"
    data[2] ^= 0xFF
    values.write_bytes(data)
    return ten


@pytest.fixture
def decision(trained, tmp_path, monkeypatch) -> Path:
    """Create the decision `fraud` in the current directory, with a free port."""
    monkeypatch.chdir(tmp_path)
    trained.copy("fraud", "fraud")
    settings = Path("fraud/rdv.toml")
    text = settings.read_text()
    assert "#port = 8100" in text
    settings.write_text(text.replace("#port = 8100", f"port = {free_port()}"))
    # A hundred times the SLA: the effect of a loaded machine on latency is not tested here.
    for schedule in Path("fraud/schedules").glob("*.toml"):
        slow = re.sub(r"(?m)^(sla_ms|until_ms) = (\d+)", r"\1 = \g<2>00", schedule.read_text())
        schedule.write_text(slow)
    return Path("fraud")


@pytest.fixture
def serve(decision, start) -> Callable[..., Served]:
    """Start `rdv serve fraud`; by default return when it is up."""

    def run(*options: object, wait: bool = True) -> Served:
        served = Served(start("serve", "fraud", *options))
        return served.up() if wait else served

    return run
