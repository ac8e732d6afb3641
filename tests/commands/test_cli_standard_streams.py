"""Check commands with closed descriptors, a limited encoding, or a changed directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Served

from rdv.stream import open_stream

ODD_MODEL = """
import os
version = "odd"
def load():
    os.chdir("/")
def predict(rows):
    os.chdir("/tmp")
    try:
        said = input()
    except EOFError:
        said = "nothing"
    print("printed by the model")
    return [{"score": 0.25, "said": said} for _ in rows]
"""

SCHEDULE = """
sla_ms = 20000
default = { score = 0.0 }
[[step]]
accept = ["odd"]
"""

STAGES = [(), ("--in-process",), ("--direct", "odd")]


@pytest.fixture
def odd(decision: Path) -> Path:
    """Create the decision with one model that changes the directory and reads stdin."""
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    (decision / "rdv.toml").write_text(text + '\n[models.odd]\npath = "models/odd.py"\n')
    (decision / "models/odd.py").write_text(ODD_MODEL)
    (decision / "schedules/production.toml").write_text(SCHEDULE)
    return decision


@pytest.mark.parametrize("stage", STAGES, ids=["full", "in-process", "direct"])
def test_a_model_may_change_the_directory_and_read_stdin(odd, start, rdv, stage):
    served = Served(start("serve", odd, *stage))
    served.until(r"listening on")
    for _ in range(2):
        answer = rdv("ask", odd, "{}", "--json").row()
        assert answer["result"] == {"score": 0.25, "said": "nothing"}
    # An edit is noticed although the model has changed the directory.
    (odd / "schedules/production.toml").write_text(SCHEDULE.replace("20000", "21000"))
    if not stage:
        served.until(r"live: production@")
    assert served.end() == 0
    assert served.process.stdout.read() == b""


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-", ">&-"])
def test_with_closed_descriptors_a_decision_is_served_and_ends(odd, command_line, rdv, closed):
    control = odd / "control"
    shell = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command_line("serve", odd)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        port = re.search(r"(?m)^port = (\d+)", (odd / "rdv.toml").read_text())[1]
        with open_stream(str(control)) as opened, opened.consumer(["status"]) as status:
            seen = b""
            while f'"p-{port}"'.encode() not in seen or b'"odd-0"' not in seen:
                seen += b"".join(
                    record.value
                    for record in status.poll(timeout=5.0)
                    if b'"ready"' in record.value
                )
        assert rdv("ask", odd, "{}", "--json").row()["model"] == "odd"
        lock = (odd / ".rdv/serve.lock").read_bytes()
        assert lock.startswith(b"{")
        assert lock.count(b"\n") == 1
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(60) == 0
    finally:
        shell.kill()
        shell.communicate()


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "ascii", "C"],
)
def test_serve_works_in_any_encoding(odd, command_line, environment):
    model = odd / "models/odd.py"
    model.write_text(ODD_MODEL.replace("printed by the model", "gedruckt: ä 日本 \\u2028"))
    known = {**os.environ, **environment}
    process = subprocess.Popen(
        command_line("serve", odd), stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=known
    )
    served = Served(process)
    try:
        served.until(r"^  stop ")
        for command in (["ask", str(odd), '{"name": "Ä日本"}'], ["status", str(odd)]):
            done = subprocess.run(
                [sys.executable, "-m", "rdv", *command], check=False, env=known, capture_output=True
            )
            assert done.returncode == 0, done.stderr
        served.until(r"gedruckt")
        assert served.end() == 0
    finally:
        process.kill()
        process.communicate()
    assert not [line for line in served.lines if "Error" in line]
