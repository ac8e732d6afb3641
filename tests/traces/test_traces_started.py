"""Check when `rdv serve` starts the export of traces, and what it says when it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rdv.decision import load_decision
from rdv.serve.supervisor import beside, check
from rdv.serve.supervisor.beside import companions

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture
def decision(tmp_path):
    def make(text=""):
        (tmp_path / "rdv.toml").write_text(text)
        (tmp_path / "schedules").mkdir(exist_ok=True)
        schedule = 'sla_ms = 50\ndefault = "no"\n[[step]]\naccept = ["*"]\n'
        (tmp_path / "schedules" / "production.toml").write_text(schedule)
        return load_decision(str(tmp_path))

    return make


def started(settings, environ):
    return [one for one in companions(settings, environ) if one.name == "traces"]


def test_it_is_started_where_there_is_a_collector(decision):
    assert not started(decision(), {})
    (one,) = started(decision(), ENDPOINT)
    assert one.arguments[0] == "traces"
    assert set(ENDPOINT) <= set(one.env)
    assert started(decision('[traces]\nendpoint = "http://127.0.0.1:4318"\n'), {})
    assert not started(decision(), {**ENDPOINT, "OTEL_SDK_DISABLED": "true"})


def test_without_the_extra_it_is_named_and_all_else_is_served(decision, monkeypatch):
    monkeypatch.setattr(beside, "has_otlp", lambda: False)
    monkeypatch.setattr(check, "has_otlp", lambda: False)
    monkeypatch.setenv(*next(iter(ENDPOINT.items())))
    said = []
    check.check(decision(), lambda *words: said.append(words))
    (text,) = (line for line, code, _ in said if code == "traces_missing")
    assert "pip install 'rdv[traces]'" in text
    assert not started(decision(), ENDPOINT)


def test_by_hand_it_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['opentelemetry.proto'] = None\n"
        "from rdv.commands.component import launch\n"
        "raise SystemExit(launch(['traces', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "rdv[traces]" in done.stderr
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
