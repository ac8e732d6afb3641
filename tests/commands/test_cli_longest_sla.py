"""Check that every command that reads a schedule refuses an SLA above the maximum."""

from __future__ import annotations

from pathlib import Path


def test_an_sla_that_is_too_long_is_an_invalid_configuration(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rdv("init", "fraud", "--quiet").code == 0
    live = Path("fraud/schedules/production.toml")
    text = live.read_text()
    for sla in ("60001", "90000.0", "3600000"):
        live.write_text(text.replace("sla_ms = 50", f"sla_ms = {sla}"))
        for command in (("schedule", "check", "fraud", "production"), ("serve", "fraud")):
            done = rdv(*command)
            assert done.code == 3, command
            assert "60,000 ms, the longest SLA" in done.out + done.err
        assert rdv("schedule", "use", "fraud", "production").code == 3
    live.write_text(text.replace("sla_ms = 50", "sla_ms = 60000"))
    assert rdv("schedule", "check", "fraud", "production").code == 0
