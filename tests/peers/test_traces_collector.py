"""A real OpenTelemetry collector receives what `rdv serve` exports; it is held against the log."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ports import free_port
from running import Client, write_decision
from waiting import DEADLINE_S, wait_until

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS, OUTCOMES

SOURCE = Path(__file__).parent / "collector"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONFIG = """
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
exporters:
  file:
    path: {path}
service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [file]
  telemetry:
    metrics:
      level: none
"""


@pytest.fixture(scope="session")
def built():
    """Build the collector with Go once, and keep it by its sources."""
    names = ("main.go", "go.mod", "go.sum")
    text = b"".join((SOURCE / name).read_bytes() for name in names)
    place = Path(os.environ["RDV_PEERS"], "collector", hashlib.sha256(text).hexdigest()[:16])
    program = place / "collector"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(SOURCE / name, place)
        command = ["go", "build", "-ldflags=-s -w", "-o", "collector.new", "."]
        subprocess.run(command, cwd=place, check=True)
        (place / "collector.new").rename(program)
    return program


class RealCollector:
    def __init__(self, program: Path, folder: Path) -> None:
        self.port, self.file = free_port(1), folder / "spans.jsonl"
        config = folder / "collector.yaml"
        config.write_text(CONFIG.format(port=self.port, path=self.file))
        self._process = subprocess.Popen([program, "--config", f"file:{config}"])

    def spans(self) -> dict[str, dict]:
        """Return the spans by their ids."""
        found: dict[str, dict] = {}
        with suppress(FileNotFoundError):
            for line in self.file.read_text().splitlines():
                with suppress(json.JSONDecodeError):  # the last one is being written
                    for resource in json.loads(line)["resourceSpans"]:
                        for scope in resource["scopeSpans"]:
                            for span in scope["spans"]:
                                before = found.setdefault(span["spanId"], span)
                                assert before == span
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_S)


def attributes(one: dict) -> dict:
    return {item["key"]: next(iter(item["value"].values())) for item in one.get("attributes", ())}


@pytest.fixture
def collector(built, tmp_path):
    found = RealCollector(built, tmp_path)
    yield found
    found.close()


@pytest.fixture
def served(collector, tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory, more="[traces]\nothers = 1.0")
    environ = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b",
    }
    command = [sys.executable, "-m", "rdv", "serve", str(directory)]
    process = subprocess.Popen(command, env=environ)

    def is_ready():
        with suppress(OSError), Client(port) as client:
            return client.get("/readyz")[0] == 200
        return False

    try:
        wait_until(is_ready, "it is not ready")
        yield directory, port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def exporter_of(directory: Path) -> int | None:
    """Return the pid of the exporter; None while none is ready."""
    command = [sys.executable, "-m", "rdv", "status", str(directory), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [row for row in json.loads(done.stdout)["processes"] if row["name"] == "traces"]
    return next((row["pid"] for row in rows if row["state"] == "ready"), None)


def in_log(directory: Path) -> dict[str, tuple]:
    joined, _ = read_joined(str(directory))
    found = {}
    for row in range(len(joined)):
        reports = {
            model: OUTCOMES[joined.outcome[number, row]]
            for number, model in enumerate(joined.models)
            if OUTCOMES[joined.outcome[number, row]] not in (None, "not sampled")
        }
        found[joined.id(row)] = (KINDS[joined.kind[row]], joined.model.at(row), reports)
    return found


def in_traces(spans: dict[str, dict]) -> dict[str, tuple]:
    found = {}
    roots = [span for span in spans.values() if span["name"] == "POST /v1/decide"]
    for root in roots:
        said = attributes(root)
        below = [s for s in spans.values() if s.get("parentSpanId") == root["spanId"]]
        reports = {attributes(s)["rdv.model"]: attributes(s)["rdv.outcome"] for s in below}
        found[said["rdv.id"]] = (said["rdv.kind"], said.get("rdv.model"), reports)
    return found


def test_what_a_collector_has_received_is_what_is_in_the_log(served, collector):
    directory, port = served
    exporter = wait_until(lambda: exporter_of(directory), "the exporter is not there")
    parent = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "congo=1"}
    ids = []
    with Client(port) as client:
        for number in range(30):
            data = {"n": number, **({"gbm": "raise"} if number % 5 == 0 else {})}
            status, answer = client.post({"data": data}, parent if number == 7 else None)
            assert status == 200
            ids.append(answer["id"])
            if number == 15:
                os.kill(exporter, signal.SIGKILL)

    def is_complete():
        return set(in_traces(collector.spans())) >= set(ids)

    wait_until(is_complete, "not all decisions have been exported")
    spans = collector.spans()
    assert in_traces(spans) == in_log(directory)
    failed = [s for s in spans.values() if s.get("status", {}).get("code") == 2]
    assert {attributes(span)["rdv.id"] for span in failed} == set(ids[::5])
    assert {event["name"] for span in failed for event in span["events"]} >= {"exception"}
    traced = next(s for s in spans.values() if attributes(s).get("rdv.id") == ids[7])
    assert (traced["traceId"], traced["traceState"]) == (TRACE, "congo=1")
    root = next(s for s in spans.values() if s.get("parentSpanId") == SPAN)
    # A slow machine may have made it late besides.
    assert {"stringValue": "sampled"} in attributes(root)["rdv.exported_as"]["values"]
