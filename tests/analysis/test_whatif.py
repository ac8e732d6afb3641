"""Check what another schedule would have answered against a log that it decided."""

from __future__ import annotations

import orjson
import pyarrow.parquet as pq
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, PRODUCTION, QUORUM, MadeLog, make_requests, varied

from rdv.analysis.dataset.joined import KINDS
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.whatif.decisions import DecisionFile
from rdv.analysis.whatif.study import what_if
from rdv.rendezvous.schedule import schedule_from_object
from rdv.stream import open_stream

DEFAULT = {"score": 0.0, "action": "review"}
EAGER = schedule_from_object(
    {
        "sla_ms": 40,
        "default": DEFAULT,
        "step": [{"until_ms": 5, "accept": ["rules"]}, {"accept": ["logit", "*", "gbm"]}],
    },
    "eager",
)


def study(directory, schedule, **options):
    rows = []
    with Recorded(str(directory)) as recorded:
        found = what_if(recorded, schedule, keep=rows.append, **options)
    decided = {}
    for row in rows:
        for n in range(len(row.joined)):
            decided[row.joined.id(n)] = (
                KINDS[row.decided.kind[n]],
                row.models[n],
                int(row.decided.step[n]),
                int(row.decided.at_us[n]),
            )
    return found, decided


def answers_given(log):
    return {
        id_: (r.kind, r.model, r.step, round(r.waited_ms * 1000)) for id_, r in log.results.items()
    }


def nearly(found, expected):
    """Check for the same decisions; times may differ by the rounding of an estimated arrival."""
    assert found.keys() == expected.keys()
    for id_, (*what, at_us) in expected.items():
        assert list(found[id_][:3]) == what
        assert abs(found[id_][3] - at_us) <= 1


@pytest.mark.parametrize("schedule", [PRODUCTION, EAGER, QUORUM], ids=lambda s: s.name)
def test_it_is_what_the_engine_decides(tmp_path, schedule):
    log = varied()
    log.write(tmp_path)
    found, decided = study(tmp_path, schedule)
    again = varied()
    again.schedules[schedule.name] = schedule
    again.live = schedule.name
    for made in again.requests:
        # An SLA that the proxy has written into a request is not the client's.
        if made.deadline_ms == 50.0:
            made.deadline_ms = None
    again.decide()
    expected = answers_given(again)
    for id_, result in log.results.items():
        if result.code in ("expired", "unknown_schedule", "invalid_schedule"):
            # The made-up server reads a request 0.2 ms after its start; here it arrives at once.
            expected[id_] = (*expected[id_][:3], decided[id_][3])
    nearly(decided, expected)
    assert found.new.kinds["default"] == sum(r.kind == "default" for r in again.results.values())
    assert found.recorded.kinds["default"] == sum(r.kind == "default" for r in log.results.values())


def test_the_same_schedule_changes_nothing(tmp_path):
    MadeLog(make_requests(300)).write(tmp_path)
    found, _ = study(tmp_path, PRODUCTION)
    assert (found.changed_model, found.changed_answer) == (0, 0)
    assert found.recorded.kinds == found.new.kinds
    assert found.recorded.models == found.new.models
    assert found.recorded.waits.quantile_ms(0.9) == found.new.waits.quantile_ms(0.9)
    assert found.compared == 300


def test_refusals_are_bounded(tmp_path):
    MadeLog(make_requests(500)).write(tmp_path)
    found, _ = study(tmp_path, EAGER)
    assert found.refused
    shares = [side.share("default") for side in (found.low, found.new, found.high)]
    assert shares == sorted(shares)
    assert any("bounds" in line for line in found.caveats())


def test_models_that_did_not_run_are_named(tmp_path):
    MadeLog(make_requests(20)).write(tmp_path)
    new = schedule_from_object({"sla_ms": 20, "default": 0, "step": [{"accept": ["new"]}]}, "n")
    found, _ = study(tmp_path, new)
    assert found.never_ran == ("new",)
    assert found.new.share("default") == 1
    assert any("the SLA was 50 ms" in line for line in found.caveats())


def test_accuracy_where_outcomes_are_known(tmp_path):
    log = MadeLog(make_requests(300))
    log.write(tmp_path)
    with (
        open_stream(str(tmp_path / "outcomes"), clock=FakeClock()) as stream,
        stream.producer() as producer,
    ):
        for made in log.requests[:200]:
            truth = "block" if made.number % 3 == 0 else "pass"
            line = {"id": made.id, "outcome": truth, "with_source": "test", "time_ns": BEGIN_NS}
            producer.send("outcomes", orjson.dumps(line) + b"\n", partition=0)
        producer.send("outcomes", b"rubbish\n", partition=0)
    found, decided = study(tmp_path, EAGER)
    assert found.recorded.judged == found.new.judged == 200
    # The made-up rules never say "block"; the other models are always right.
    right = [
        decided[made.id][1] in ("gbm", "logit") or (decided[made.id][1] and made.number % 3)
        for made in log.requests[:200]
    ]
    assert found.new.accuracy == sum(map(bool, right)) / 200
    assert found.recorded.accuracy > found.new.accuracy
    assert found.notes.malformed["outcomes"] == 1


def test_numbers_are_compared_by_how_far_they_are_apart(tmp_path):
    MadeLog(make_requests(300)).write(tmp_path)
    found, _ = study(tmp_path, EAGER, on="score")
    assert 0 < found.mean_change < found.change_max <= 1


def test_every_decision_as_parquet(tmp_path):
    log = MadeLog(make_requests(100))
    log.write(tmp_path)
    with (
        Recorded(str(tmp_path)) as recorded,
        DecisionFile(str(tmp_path / "out.parquet")) as file,
    ):
        what_if(recorded, EAGER, keep=file.add)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(rows) == 100
    for row in rows:
        result = log.results[row["id"]]
        assert row["recorded_model"] == result.model
        assert row["recorded_ms"] == result.waited_ms
        assert row["kind"] in KINDS
