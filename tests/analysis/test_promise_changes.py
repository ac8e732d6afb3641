"""Check that the change at which a promised quality broke is named, and nothing else."""

from __future__ import annotations

import random

import numpy as np
import orjson
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, FAST, PRODUCTION, MadeLog, make_requests, schedule_line
from test_regress import rdv, write_schedule

from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.measure import Measure
from rdv.analysis.measure.sides import Judged
from rdv.analysis.metrics import metric_named
from rdv.analysis.promise import quality_promise
from rdv.analysis.promise_changes import Change, find_break
from rdv.decision import load_decision
from rdv.stream import open_stream

NOW_NS = BEGIN_NS + 3_600 * 10**9
COUNT, GAP_NS = 900, 2_000_000


def at(number):
    return BEGIN_NS + number * GAP_NS


@pytest.fixture
def told(tmp_path):
    """Return a function that writes a log whose answers are right until a request, then rarely."""

    def write(wrong_from, events=(), promotions=()):
        log = MadeLog(make_requests(COUNT))
        log.write(tmp_path)
        (tmp_path / "schedules").mkdir()
        write_schedule(tmp_path, "gbm")
        chance = random.Random(5)
        clock = FakeClock(BEGIN_NS)
        with (
            open_stream(str(tmp_path / "outcomes"), clock=clock) as stream,
            stream.producer() as producer,
        ):
            for made in log.requests:
                is_wrong = chance.random() < (0.6 if made.number >= wrong_from else 0.03)
                truth = "block" if (made.number % 3 == 0) != is_wrong else "pass"
                line = {"id": made.id, "outcome": truth, "time_ns": BEGIN_NS}
                producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
        with open_stream(str(tmp_path / "control")) as stream, stream.producer() as producer:
            for number, what in events:
                line = {"code": "model_version_changed", "message": what, "time_ns": at(number)}
                producer.send("events", orjson.dumps(line) + b"\n")
            for number, schedule in promotions:
                line = {**orjson.loads(schedule_line(schedule)), "time_ns": at(number)}
                producer.send("schedule", orjson.dumps(line) + b"\n")
        text = '[objective]\nquality_min = 0.7\nmetric = "accuracy"\n'
        text += "window_ms = 315360000000\n"
        (tmp_path / "rdv.toml").write_text(text)
        return quality_promise(load_decision(str(tmp_path), {}), NOW_NS)

    return write


def named(found):
    return [] if found.broke is None else [one.what for one in found.broke.changes]


EARLY, CULPRIT, LATE = (150, "gbm: 1 → 2"), (500, "gbm: 2 → 3"), (850, "logit: 1 → 2")


def test_the_model_change_is_named(told, tmp_path):
    found = told(500, (EARLY, CULPRIT, LATE))
    assert named(found) == ["gbm: 2 → 3"]
    assert found.changes == 3
    assert found.broke.before.low > 0.7 > found.broke.after.high
    assert "it broke with gbm: 2 → 3 at 2023-11-14" in found.sentence()
    shown = rdv("status", tmp_path)
    assert "it broke with gbm: 2 → 3" in shown.stdout, shown.stderr
    done = rdv("regress", tmp_path, "--against", "2023-01-01T00:00:00Z")
    assert "it broke with gbm: 2 → 3" in done.stderr


def test_the_schedule_change_is_named(told):
    found = told(500, (EARLY,), ((500, FAST), (800, PRODUCTION)))
    assert named(found) == [f"live schedule: {PRODUCTION.label} → {FAST.label}"]


def test_changes_that_outcomes_do_not_tell_apart_are_all_named(told):
    assert named(told(500, (EARLY, CULPRIT, (503, "rules: 1 → 2")))) == [
        "gbm: 2 → 3",
        "rules: 1 → 2",
    ]


@pytest.mark.parametrize(
    ("wrong_from", "events"),
    [
        (500, ()),  # no change is recorded
        (500, ((150, "x"),)),  # what changed, changed long before
        (0, (EARLY, CULPRIT, LATE)),  # broken from the beginning
        (COUNT, (EARLY, CULPRIT, LATE)),  # never broken
        (880, (LATE,)),  # too few outcomes since
    ],
)
def test_nothing_is_claimed_where_nothing_can_be_told(told, wrong_from, events):
    assert named(told(wrong_from, events)) == []


def test_chance_names_no_change():
    """A quality at the promised value, and ten changes of nothing: a false alarm in under 5 %."""
    chance, false = np.random.default_rng(7), 0
    measure = Measure(metric_named("value"), Extract(Reading("number")))
    changes = [Change(int(time_ns), "x") for time_ns in range(100, 1100, 100)]
    for _ in range(100):
        right = (chance.random(1200) < 0.7).astype(float)
        times_ns = np.arange(1200)
        keys = np.arange(1200, dtype=np.uint64)
        judged = Judged(measure, (right,), (right,), right, keys)
        false += find_break(judged, times_ns, changes, lambda value: value >= 0.7) is not None
    assert false <= 8
