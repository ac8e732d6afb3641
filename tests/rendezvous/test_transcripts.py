"""Run every transcript as a test of its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario import Scenario

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    Scenario().run(path)


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 12


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    """The runner must notice wrong expectations."""
    script = (
        'schedule production {"sla_ms":50,"default":0,"step":[{"accept":["gbm"]}]}\n'
        "0 request r1\n"
        "{line}\n"
    )
    wrong = [
        "5 score r1 gbm 1",
        "5 tick\n5 -> r1 default -",
        "5 count open=0",
        "5 score r1 gbm 1\n5 -> r1 fallback gbm",
        "5 score r1 gbm 1\n5 -> r1 preferred gbm step=2",
    ]
    for number, line in enumerate(wrong):
        path = tmp_path / f"{number}.txt"
        path.write_text(script.replace("{line}", line))
        with pytest.raises(AssertionError):
            Scenario().run(path)
