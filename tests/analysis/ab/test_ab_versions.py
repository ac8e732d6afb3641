"""Check that pairs are decided by the schedules that were in force, whatever is in force now."""

from __future__ import annotations

import msgspec
import orjson
import pytest
import tomlkit
from ab_kit import experiment
from fake_clock import FakeClock
from made_log import BEGIN_NS, FAST, PRODUCTION, schedule_line

from rdv.analysis.ab import REST, Plan, run_experiment
from rdv.analysis.dataset.places import Recorded
from rdv.rendezvous.messages import decode_request, decode_result, encode_result
from rdv.rendezvous.schedule import schedule_from_object
from rdv.stream import open_stream

SHARES = {"fast": 0.5}
PLAN = Plan(SHARES, {REST: PRODUCTION, "fast": FAST})
LOGIT = [{"accept": ["logit"]}]
PROMOTED, EDITED = (
    schedule_from_object({"sla_ms": 50, "default": {}, "step": LOGIT}, name)
    for name in ("production", "fast")
)


def paired(directory, plan=PLAN, **options):
    with Recorded(str(directory)) as recorded:
        found = run_experiment(recorded, plan, **options)
    assert found.comparisons[0].paired is not None
    return found, found.comparisons[0].paired.difference


def record(directory, topic, line, time_ns):
    with open_stream(str(directory / "control")) as stream, stream.producer() as producer:
        producer.send(topic, orjson.dumps({**orjson.loads(line), "time_ns": time_ns}) + b"\n")


def at(number):
    return BEGIN_NS + int(number * 3e6) - 1_000_000


@pytest.mark.parametrize(
    "now",
    [
        {REST: PROMOTED, "fast": FAST},
        {REST: PRODUCTION, "fast": EDITED},
        {REST: FAST, "fast": PRODUCTION},
        {"fast": FAST},
        {},
    ],
)
def test_a_later_promotion_or_edit_changes_nothing(tmp_path, now):
    before, difference = paired(experiment(tmp_path, 1500))
    assert difference.covers(-0.1)
    record(tmp_path, "schedule", schedule_line(PROMOTED), at(1600))
    after, again = paired(tmp_path, Plan(SHARES, now))
    assert again == difference
    assert after.versions == before.versions
    assert after.versions[REST] == {PRODUCTION.label: 1500}
    assert f"rest {PRODUCTION.label} (1,500 requests)" in " ".join(after.caveats())


def test_requests_before_and_after_a_promotion_have_their_own(tmp_path):
    """From the 900th request on logit is the champion: there is no difference any more."""
    experiment(tmp_path, 1500)
    record(tmp_path, "schedule", schedule_line(PROMOTED), at(900))
    relabel(tmp_path, PRODUCTION.label, PROMOTED.label, at(900))
    _, early = paired(tmp_path, until_ns=at(900))
    _, late = paired(tmp_path, since_ns=at(900))
    found, whole = paired(tmp_path)
    assert early.estimate < -0.05
    assert late.estimate == 0
    assert whole.estimate == pytest.approx(early.estimate * 0.6)
    assert found.versions[REST] == {PRODUCTION.label: 900, PROMOTED.label: 600}
    assert "for one version use --since and --until" in " ".join(found.caveats())


def test_without_records_of_control_results_say_it(tmp_path):
    """Retention has deleted the records of the schedules; the results still have their labels."""
    experiment(tmp_path, 1000)
    with open_stream(str(tmp_path / "control")) as stream:
        stream.delete_topic("schedule")
    (tmp_path / "schedules").mkdir()
    for one in (PRODUCTION, FAST):
        text = tomlkit.dumps(content_of(one))
        (tmp_path / "schedules" / f"{one.name}.toml").write_text(text)
    found, difference = paired(tmp_path)
    assert difference.covers(-0.1)
    assert sum(found.versions[REST].values()) > 900


def content_of(schedule):
    plain = msgspec.to_builtins(schedule)
    return {k: v for k, v in plain.items() if k not in ("name", "content_hash") and v is not None}


def relabel(directory, old, new, since_ns):
    """Give the results of requests from then on another label, as the server would have."""
    times = {}
    with open_stream(str(directory / "input")) as stream, stream.consumer() as consumer:
        while records := consumer.poll(10_000):
            times |= {decode_request(r.value).id: r.timestamp_ns for r in records}
    clock = FakeClock(BEGIN_NS)
    with open_stream(str(directory / "results"), clock=clock) as stream:
        with stream.consumer() as consumer:
            results = []
            while records := consumer.poll(10_000):
                results += [(record.timestamp_ns, record.value) for record in records]
        stream.delete_topic("p-1")
        with stream.producer() as producer:
            for time_ns, value in results:
                one = decode_result(value)
                is_new = one.schedule == old and times[one.id] >= since_ns
                made = msgspec.structs.replace(one, schedule=new) if is_new else one
                clock.move_to(time_ns)
                producer.send("p-1", encode_result(made), partition=0)
        clock.move_to(BEGIN_NS)
