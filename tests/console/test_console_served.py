"""`rdv serve` starts the console; its counters are those of the log after any kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from pyarrow import parquet
from running import Client, write_decision
from waiting import wait_until

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS, OUTCOMES
from rdv.system.processes import command_line_of, processes


class Running:
    """A decision that `rdv serve` runs, with its console."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.console_port = free_port()
        self.port = write_decision(directory, more=f"[console]\nport = {self.console_port}\n")
        environment = {**os.environ, "RDV_CONSOLE_ENABLED": "true"}
        command = [sys.executable, "-m", "rdv", "serve", str(directory)]
        self.errors = (directory / "serve.log").open("wb")
        self.process = subprocess.Popen(command, env=environment, stderr=self.errors)

    def pid_of(self, role: str) -> int | None:
        """Return the process of this role."""
        wanted = f" component {role} {self.directory}".encode()
        found = [pid for pid in processes() if wanted in command_line_of(pid)]
        return found[0] if found else None

    def kill(self, role: str) -> int:
        """Kill the process of this role; return its pid."""
        pid = wait_until(lambda: self.pid_of(role))
        os.kill(pid, signal.SIGKILL)
        return pid

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.console_port}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def counters(self) -> dict[str, dict[tuple, float]]:
        """Return all counters; nothing while the console does not answer."""
        try:
            text = self.get("/metrics")
        except OSError:
            return {}
        found: dict[str, dict[tuple, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.endswith(("_total", "_bucket", "_count")):
                    labels = tuple(sorted(sample.labels.items()))
                    found.setdefault(sample.name, {})[labels] = sample.value
        return found

    def decided(self) -> int:
        return int(sum(self.counters().get("rdv_decisions_total", {"": -1}).values()))

    def ask(self, count: int) -> None:
        for number in range(count):
            with Client(self.port) as client:
                try:
                    client.post({"data": {"n": number}})
                except OSError:
                    wait_until(self.is_ready)

    def is_ready(self) -> bool:
        try:
            with Client(self.port) as client:
                return client.get("/readyz")[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.errors.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("served") / "fraud")
    wait_until(running.is_ready)
    yield running
    running.close()


def went_back(before, after) -> list[str]:
    """Return the series that are less than before, or gone."""
    return [
        f"{name}{labels}"
        for name, values in before.items()
        for labels, value in values.items()
        if after.get(name, {}).get(labels, -1) < value
    ]


def test_counters_are_the_log_s_after_every_kill(running):
    running.ask(20)
    wait_until(lambda: running.decided() == 20)
    before = running.counters()
    for role in ("console", "proxy", "server"):
        killed = running.kill(role)
        running.ask(10)
        wait_until(lambda role=role, killed=killed: running.pid_of(role) not in (None, killed))
        after = wait_until(running.counters)
        assert went_back(before, after) == []
        before = after

    def is_whole():
        # A request whose proxy was killed is answered by its successor, and counted later.
        joined, notes = read_joined(str(running.directory))
        return notes.unanswered == 0 and running.decided() == len(joined)

    wait_until(is_whole)
    joined, _ = read_joined(str(running.directory))
    found = running.counters()
    kinds = {kind: int((joined.kind == code).sum()) for code, kind in enumerate(KINDS) if kind}
    counted = dict.fromkeys(kinds, 0)
    for labels, value in found["rdv_decisions_total"].items():
        counted[dict(labels)["kind"]] += int(value)
    assert counted == kinds
    for number, model in enumerate(joined.models):
        for code, outcome in enumerate(OUTCOMES):
            labels = {"decision": "fraud", "model": model, "outcome": outcome or "silent"}
            key = tuple(sorted(labels.items()))
            expected = int((joined.outcome[number] == code).sum())
            assert found["rdv_model_reports_total"].get(key, 0) == expected
    answered = sum(found["rdv_proxy_duration_seconds_count"].values())
    assert answered >= len(joined) - 10, "clients' latency survives the proxy as well"


def test_the_export_has_the_same_totals(running, tmp_path):
    command = [sys.executable, "-m", "rdv", "export", str(running.directory)]
    command += ["-o", str(tmp_path / "out"), "--tables", "joined", "--json"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    table = parquet.read_table(tmp_path / "out" / "joined").to_pydict()
    exported = Counter(zip(table["kind"], (model or "" for model in table["model"]), strict=True))

    def counted() -> Counter:
        found: Counter = Counter()
        for labels, value in running.counters().get("rdv_decisions_total", {}).items():
            found[dict(labels)["kind"], dict(labels)["model"]] += int(value)
        return found

    wait_until(lambda: counted() == exported)


def test_the_console_runs_when_nothing_else_does(running):
    def is_idle():
        pid = running.pid_of("console")
        return pid is not None and os.sched_getscheduler(pid) == os.SCHED_IDLE

    wait_until(is_idle)


def test_a_taken_port_holds_nothing_up_and_is_tried_again(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        console_port = taken.getsockname()[1]
        port = write_decision(tmp_path / "d", more=f"[console]\nport = {console_port}\n")
        command = [sys.executable, "-m", "rdv", "serve", str(tmp_path / "d")]
        environment = {**os.environ, "RDV_CONSOLE_ENABLED": "true"}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            assert any(b"console_port_taken" in line for line in process.stderr)
            with Client(port) as client:
                assert client.post({"data": {"n": 1}})[0] == 200
            taken.close()
            wait_until(lambda: is_alive(console_port))
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
        assert process.returncode == 0


def is_alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30) as answer:
            return answer.status == 200
    except OSError:
        return False
