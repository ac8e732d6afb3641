"""Check the warning where requests are deleted before outcomes count by their age."""

from __future__ import annotations

import pytest

from rdv.decision import load_decision
from rdv.decision.schedules import lint_settings

DAY = 86_400_000


def findings(tmp_path, mature_ms, retention):
    kept = "" if retention is None else f"[log]\nretention_ms = {retention}\n"
    mature = f'[outcome]\nmature_after_ms = {mature_ms}\nmature_as = "0"\n'
    (tmp_path / "rdv.toml").write_text(kept + mature)
    return list(lint_settings(load_decision(str(tmp_path), {})))


@pytest.mark.parametrize(
    ("mature_ms", "retention", "code", "words"),
    [
        (45 * DAY, None, "maturity-beyond-retention", ("45 days", "7 days", "46 days")),
        (45 * DAY, 45 * DAY, "maturity-beyond-retention", ("45 days", "none is ever that old")),
        (6 * DAY + 1, None, "maturity-near-retention", ("6 days", "24 hours", "7 days")),
        (6 * DAY, None, None, ()),
        (45 * DAY, 46 * DAY, None, ()),
        (45 * DAY, '"forever"', None, ()),
        (0, 1, None, ()),
        (3_600_000, 1_800_000, "maturity-beyond-retention", ("1 hours", "0.5 hours")),
    ],
)
def test_maturity_and_retention(tmp_path, mature_ms, retention, code, words):
    found = findings(tmp_path, mature_ms, retention)
    assert [one.code for one in found] == ([] if code is None else [code])
    for one in found:
        assert one.severity == "warning"
        assert all(word in one.message for word in words), one.message
