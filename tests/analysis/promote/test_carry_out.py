"""Check which results count for a new champion, and for which key."""

from __future__ import annotations

import msgspec
import pytest

from rdv.analysis.dataset.reading import Reading
from rdv.analysis.promote.behaviour import Expected
from rdv.analysis.promote.carry_out import Watch, read_answer
from rdv.analysis.promote.proposal import Proposal
from rdv.analysis.promote.watch import Bounds
from rdv.decision import load_decision
from rdv.rendezvous.messages import Request, Result, encode_request, encode_result
from rdv.rendezvous.messages.result import Arrival
from rdv.rendezvous.schedule import schedule_from_object
from rdv.stream import open_stream

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


def append(directory, requests):
    """Append requests (id, key) and a result of each, in which the new champion has an error."""
    with (
        open_stream(str(directory / "input")) as inputs,
        open_stream(str(directory / "results")) as results,
        inputs.producer() as asked,
        results.producer() as answered,
    ):
        for id_, key in requests:
            data = msgspec.Raw(b"[]")
            request = Request(id_, 0, "here", 0, "p", data, key=key)
            asked.send("p", encode_request(request))
            arrived = [Arrival("new", 4.0, "error")]
            answered.send("p", encode_result(result(id=id_, model="old", arrived=arrived)))


def test_the_watch_counts_keys_which_it_reads_from_the_requests(tmp_path):
    """Sixty errors of one key are no reason to roll back; as many without a key, or of many, are.

    More requests than one poll returns come before, of which no result is watched.
    """
    (tmp_path / "rdv.toml").write_text("")
    for name in ("input", "scores", "results", "outcomes"):
        open_stream(str(tmp_path / name)).close()
    bounds = Bounds(misses=1.0, defaults=1.0, errors=0.01, others=1.0)
    for key in (lambda _: "one", lambda n: f"user-{n}", lambda _: None):
        with Watch(
            load_decision(str(tmp_path), {}), PROPOSAL, bounds, Expected(Reading("class"))
        ) as watch:
            with open_stream(str(tmp_path / "input")) as inputs, inputs.producer() as asked:
                for n in range(1200):
                    other = Request(f"other-{n}", 0, "here", 0, "p", msgspec.Raw(b"[]"), key="one")
                    asked.send("p", encode_request(other))
            append(tmp_path, [(f"{key(0)}-{n}", key(n)) for n in range(60)])
            breaches = watch.follow(0.5, lambda _: None)
            assert watch.period.answers == 60
            assert watch.period.totals["errors"] == 60
            assert [one.kind for one in breaches] == ([] if key(0) == "one" else ["errors"])
