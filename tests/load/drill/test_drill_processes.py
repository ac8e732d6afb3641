"""Run drills over real processes: one that passes, and some of decisions that break a promise.

Nothing here depends on the machine's speed: SLAs are long, and late answers are far too late.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from rdv.load.drill.recorded import recorded_bodies
from rdv.rendezvous.messages import Request, encode_request
from rdv.stream import open_stream

pytestmark = pytest.mark.timeout(300)

SCHEDULE = """
sla_ms = {sla_ms}
default = {{ by = "default" }}
[[step]]
until_ms = {until_ms}
accept = ["best"]
[[step]]
accept = ["fast"]
"""
MODEL = "def predict(rows):\n    return [{{'by': '{name}'}} for _ in rows]\n"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("RDV_")]:
        monkeypatch.delenv(name)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)


def write_decision(directory: Path, sla_ms: int = 4_000, http: str = "") -> Path:
    (directory / "models").mkdir(parents=True)
    (directory / "schedules").mkdir()
    text = SCHEDULE.format(sla_ms=sla_ms, until_ms=sla_ms // 2)
    (directory / "schedules/production.toml").write_text(text)
    tables = "".join(f'[models.{name}]\npath = "models/{name}.py"\n' for name in ("best", "fast"))
    (directory / "rdv.toml").write_text(f"[http]\n{http}\n{tables}")
    for name in ("best", "fast"):
        (directory / f"models/{name}.py").write_text(MODEL.format(name=name))
    rows = [json.dumps({"data": {"n": n}, "key": f"k-{n}"}) for n in range(40)]
    (directory / "requests.jsonl").write_text("\n".join(rows) + "\n")
    return directory


def drill(directory, *options):
    command = [sys.executable, "-m", "rdv", "drill", str(directory), *options]
    return subprocess.run(command, capture_output=True, check=False)


def contents(directory):
    return {p: p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def leftovers(tmp_path):
    """Return the processes that still run in the temporary directory, and the files in it."""
    running = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(tmp_path).encode() in place.read_bytes():
                running.append(place.parent.name)
        except OSError:
            continue
    return running, list((tmp_path / "temporary").iterdir())


def test_a_decision_that_keeps_its_promises(tmp_path):
    directory = write_decision(tmp_path / "tiny")
    before = contents(directory)
    out = tmp_path / "report.json"
    options = ("--quick", "--rate", "200", "--grace", "1m", "--json", "-o", str(out))
    done = drill(directory, *options, "--faults", "kill,stop,corrupt,overload,disk")
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report == json.loads(out.read_text())
    assert (report["broken"], report["left_out"]) == ([], [])
    assert report["load"] == f"40 requests of {directory / 'requests.jsonl'}"
    rows = {f"{row['fault']} {row['part'].partition('-')[0]}": row for row in report["exercises"]}
    faults = [f"{fault} {part}" for fault in ("kill", "stop", "corrupt")
              for part in ("server", "best", "p")]  # fmt: skip
    assert list(rows) == [*faults, "overload everything", "disk everything"]
    assert all(row["requests"] for row in rows.values() if not row["skipped"])
    # Fallbacks replaced the killed champion until it came back.
    assert rows["kill best"]["during"]["fallback"] > 0
    assert rows["kill best"]["after"]["preferred"] > 0.8
    assert rows["stop p"]["apart"] > 0  # a killed proxy may be back before it loses any
    assert all((row["restart_ms"] is not None) == (row["fault"] == "kill") for row in rows.values())
    assert rows["overload everything"]["requests"] > 2 * rows["stop best"]["requests"]
    disk = rows["disk everything"]
    assert disk["skipped"] or disk["during"]["default"] > 0.5
    assert b"11 exercises" in done.stderr
    assert contents(directory) == before
    assert leftovers(tmp_path) == ([], [])


def test_an_enricher_that_may_take_longer_than_the_sla(tmp_path):
    """The misconfiguration matters: enrich_timeout_ms exceeds sla_ms, and the enricher is slow."""
    http = 'enrich = "models/profile.py:enrich"\nenrich_timeout_ms = 2000'
    directory = write_decision(tmp_path / "slow", 60, http)
    profile = "import time\ndef enrich(data):\n    time.sleep(0.2)\n    return data\n"
    (directory / "models/profile.py").write_text(profile)
    done = drill(directory, "--quick", "--rate", "10", "--faults", "corrupt")
    assert done.returncode == 1
    error = done.stderr.decode()
    assert "error: every accepted request is answered by its SLA: " in error
    assert "later than the SLA + 10 ms by the proxy's clock, the latest after " in error
    assert "RECOVERY" in done.stdout.decode()
    assert leftovers(tmp_path) == ([], [])


def test_a_request_that_ends_the_proxy(tmp_path):
    """Accepted requests stay without an answer, although the drill did not touch the proxy."""
    http = 'enrich = "models/profile.py:enrich"\nenrich_timeout_ms = 1000'
    directory = write_decision(tmp_path / "fragile", http=http)
    profile = (
        "import os\ndef enrich(data):\n    os.kill(os.getpid(), 9) if data['n'] == 20 else 0\n"
    )
    (directory / "models/profile.py").write_text(profile + "    return data\n")
    done = drill(
        directory, "--quick", "--rate", "40", "--faults", "kill", "--grace", "1m", "--json"
    )
    assert done.returncode == 1
    assert any(
        "answered by its SLA: " in broken and " without an answer (" in broken
        for broken in json.loads(done.stdout)["broken"]
    )
    assert leftovers(tmp_path) == ([], [])


def test_a_decision_that_cannot_be_served(tmp_path):
    directory = write_decision(tmp_path / "broken")
    (directory / "schedules/production.toml").write_text("sla_ms = 'soon'\n")
    done = drill(directory, "--quick")
    assert done.returncode == 1
    assert b"the copy of the decision has ended: " in done.stderr
    assert b"sla_ms" in done.stderr
    assert leftovers(tmp_path) == ([], [])


def test_a_model_elsewhere_is_named_before_anything_starts(tmp_path):
    directory = write_decision(tmp_path / "outside")
    (tmp_path / "shared.py").write_text(MODEL.format(name="best"))
    text = (directory / "rdv.toml").read_text().replace("models/best.py", "../shared.py")
    (directory / "rdv.toml").write_text(text)
    done = drill(directory)
    assert done.returncode == 3
    assert b"models.best.path: lies outside of the decision's directory" in done.stderr
    assert leftovers(tmp_path) == ([], [])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nothing(tmp_path, signum):
    directory = write_decision(tmp_path / "tiny")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = [
            sys.executable,
            "-m",
            "rdv",
            "drill",
            str(directory),
            "--faults",
            "stop",
            "--progress",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    for line in process.stderr:
        if line.startswith(b"1/"):
            break
    process.send_signal(signum)
    _, error = process.communicate()
    assert (process.returncode, b"Traceback" in error) == (128 + signum, False), error
    assert leftovers(tmp_path) == ([], [])


def test_recorded_requests_are_the_load_and_are_only_read(tmp_path):
    lines = []
    for n, more in enumerate([(), ("qa",), ("ab", "treatment")]):
        data = msgspec.Raw(b'{"n":%d}' % n)
        lines.append(encode_request(Request(f"id-{n}", n, "h", 1, "p-1", data, f"k-{n}", *more)))
    with open_stream(str(tmp_path / "input")) as stream, stream.producer() as producer:
        producer.send_many("p-1", [lines[2], b"garbage\n", lines[0], lines[1]])
    before = contents(tmp_path)
    assert [json.loads(body) for body in recorded_bodies(str(tmp_path / "input"))] == [
        {"data": {"n": 0}, "key": "k-0"},
        {"data": {"n": 1}, "key": "k-1", "schedule": "qa"},
        {"data": {"n": 2}, "key": "k-2"},
    ]
    assert contents(tmp_path) == before
    assert recorded_bodies(str(tmp_path / "nothing")) == []


def test_help_is_quick():
    """It imports none of the modules that a drill needs."""
    script = """
import sys
from rdv.__main__ import main
assert main(["drill", "--help"]) == 0
rooms = {"rdv.load.drill", "rdv.load.generator"}
heavy = (rooms | {"uvloop", "orjson", "pyarrow", "numpy"}) & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"rdv drill fraud --quick" in done.stdout
