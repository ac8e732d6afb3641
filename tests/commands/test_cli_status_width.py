"""Check that `rdv status --watch` is readable on a terminal of 80 columns."""

import pytest
from rich.console import Console

from rdv.commands.status import renderable
from rdv.status.models import unlogged


def model(name):
    return {
        "model": name, "state": "not running", "instances": 2, "version": "sha256-0123456789",
        "answers": 1_234_567, "lag": 12_345, "scored": 1_234_567, "refused": 123_456,
        "failed": 1_012, "row_ms": 0.01234, "declared": True, "scaling": None,
    }  # fmt: skip


def process(name, role, figures):
    return {"name": name, "state": "restarting", "pid": 123_456, "age_s": 10.4, "role": role,
            "figures": figures}  # fmt: skip


REPORT = {
    "decision": "fraud",
    "directory": "fraud",
    "schedule": "production",
    "served_by": 12_345,
    "served_by_unknown": None,
    "running_s": 12_345.6,
    "addresses": ["127.0.0.1:8100"],
    "not_in_force": ["fraud/schedules/production.toml: step 2: accept: unknown model 'gbmx'"],
    "at_next_start": ["partitions", "log.fsync"],
    "results": {
        "answers": 3_703_701, "rate": 1234.5, "window_s": 10.0, "off_record": 12, "misses": 1_234,
        "kinds": {"preferred": 0.9871, "fallback": 0.0109, "default": 0.002},
        "waited_ms": {"p50": 1.234, "p99": 12.345, "max": 56.7},
        "schedules": ["production@0123456789ab"], "cohorts": {"treatment": 1_234},
    },
    "trend": {
        "step_s": 5, "rates": [1234.5] * 60, "p99_ms": [None] * 30 + [12.345] * 30,
        "defaults": [0.0, 0.5] * 30, "models": {"mlp-candidate" * 3: [0.25] * 60},
        "budget": {"target": 0.999, "answers": 3_703_701, "bad": 7, "share": 0.002,
                   "burn_rate": 2.0},
    },
    "why": ["mlp-candidate-0 restarts every 2 s: KeyError: 'amount' " + "in a long line " * 5],
    "models": [model("mlp-candidate"), model("logit")],
    "proxies": {"requests": 123_456_789, "refused": 12, "backstop": 3, "misses": 4, "in_flight": 1},
    "unlogged": unlogged([]),
    "unread": [],
    "processes": [
        process("proxy-8100", "proxy", {"requests": 123_456_789, "in_flight": 12, "refused": 3}),
        process("mlp-candidate-0", "worker", {"scored": 1_234_567, "refused": 3, "waiting": 12}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_nothing_is_cut_off(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    Console(width=columns).print(renderable(REPORT))
    shown = capsys.readouterr().out
    assert shown.count("…") == 1  # the name of the model with the long name
    assert max(map(len, shown.splitlines())) <= columns
    words = " ".join(shown.split())
    for text in ("not running", "1,234,567", "33.3 %", "mlp-candidate-0", "p99 12.3 ms", "0.0123"):
        assert text in words
    for text in ("restarts every 2 s: KeyError: 'amount'", "burns at 2.0x", "████"):
        assert text in words
    assert ("sha256-0123456789" in words) == (columns == 200)
