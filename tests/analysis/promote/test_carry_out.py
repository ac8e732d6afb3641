"""Check which results count for a new champion, without processes or files."""

from __future__ import annotations

import msgspec
import pytest

from rdv.analysis.promote.carry_out import read_answer
from rdv.analysis.promote.proposal import Proposal
from rdv.rendezvous.messages import Result
from rdv.rendezvous.messages.result import Arrival
from rdv.rendezvous.schedule import schedule_from_object

BEFORE, AFTER = (
    schedule_from_object({"sla_ms": 50, "default": 0, "step": [{"accept": [model]}]}, "live")
    for model in ("old", "new")
)
PROPOSAL = Proposal("old", "new", BEFORE, AFTER, "live.toml", "", "")


def result(**changes):
    said = {
        "id": "1",
        "reply_to": "p",
        "kind": "preferred",
        "result": msgspec.Raw(b"1"),
        "schedule": AFTER.label,
        "waited_ms": 5.0,
        "model": "new",
        "arrived": [Arrival("old", 1.0, "error"), Arrival("new", 4.0, "result")],
    }
    return Result(**{**said, **changes})


def kinds(answer):
    return {name for name in ("is_miss", "is_default", "is_error", "is_other")
            if getattr(answer, name)}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"model": "old", "kind": "fallback"}, {"is_other"}),
        ({"model": "old+new"}, set()),
        ({"model": None, "kind": "default"}, {"is_default", "is_other"}),
        ({"arrived": [Arrival("new", 4.0, "error")], "model": "old"}, {"is_error", "is_other"}),
        (
            {"model": None, "kind": "default", "answered_by": "proxy", "waited_ms": 50.0},
            {"is_miss", "is_default", "is_other"},
        ),
    ],
)
def test_answers_by_what_they_count_for(changes, expected):
    assert kinds(read_answer(result(**changes), PROPOSAL)) == expected


def test_a_refusal_is_no_report():
    answer = read_answer(result(arrived=[Arrival("new", 4.0, "behind")]), PROPOSAL)
    assert answer.is_error is None


@pytest.mark.parametrize("changes", [{"schedule": BEFORE.label}, {"waited_ms": 61.0}])
def test_results_of_other_schedules_and_late_ones_are_ignored(changes):
    """A result of another schedule, and one that came after the proxy's own answer, are ignored."""
    assert read_answer(result(**changes), PROPOSAL) is None
