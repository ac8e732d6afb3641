"""Check that the latest of several outcomes for a request counts, in any topic and order."""

from __future__ import annotations

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS

from rdv.analysis.dataset import outcomes as module
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.rendezvous.messages import Truth, encode_truth
from rdv.stream import open_stream

outcome = st.tuples(
    st.sampled_from(["p-1", "p-2", "cli"]), st.integers(0, 3), st.none() | st.integers(0, 8)
)


def write(directory, items):
    """Append an outcome for each (topic, id, time), 1 ns apart; the value is its number."""
    clock = FakeClock()
    open_stream(str(directory / "input")).close()
    with (
        open_stream(str(directory / "outcomes"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        for number, (topic, id_, at) in enumerate(items):
            clock.move_to(BEGIN_NS + number)
            time_ns = None if at is None else BEGIN_NS + at
            truth = Truth(f"r{id_}", msgspec.Raw(b"%d" % number), time_ns)
            producer.send(topic, encode_truth(truth), partition=0)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(items=st.lists(outcome, min_size=1, max_size=12))
def test_the_latest_counts(tmp_path_factory, items):
    directory = tmp_path_factory.mktemp("outcomes")
    write(directory, items)
    with Recorded(str(directory)) as recorded:
        found = read_outcomes(recorded, Notes())._truths
    expected = {}
    for number, (_, id_, at) in enumerate(items):
        # An outcome's time after its arrival, which 0.1.0 accepted, counts as the arrival.
        rank = (number if at is None else min(at, number), number)
        name = f"r{id_}".encode()
        expected[name] = max(expected.get(name, (rank, number)), (rank, number))
    assert found == {name: b"%d" % number for name, (_, number) in expected.items()}


def test_what_is_no_outcome_is_counted(tmp_path):
    write(tmp_path, [("cli", 1, None)])
    clock = FakeClock()
    with (
        open_stream(str(tmp_path / "outcomes"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        producer.send("cli", b'{"id": 7, "outcome": 1}\n')
        producer.send("cli", b'{"id": "by hand", "outcome": 1}\n')
    notes = Notes()
    with Recorded(str(tmp_path)) as recorded:
        assert len(read_outcomes(recorded, notes)) == 2
    assert notes.malformed["outcomes"] == 1


def test_outcomes_beyond_the_limit_are_left_out_and_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OUTCOMES_MAX", 2)
    write(tmp_path, [("cli", n % 3, None) for n in range(6)])
    notes = Notes()
    with Recorded(str(tmp_path)) as recorded:
        found = read_outcomes(recorded, notes)
    assert found._truths == {b"r0": b"3", b"r1": b"4"}
    assert notes.gaps == ["only the first 2 outcomes are used"]


@pytest.mark.parametrize("topic", ["p-8100", "cli", "outcomes"])
def test_every_topic_is_read(tmp_path, topic):
    write(tmp_path, [(topic, 1, None)])
    with Recorded(str(tmp_path)) as recorded:
        assert len(read_outcomes(recorded, Notes())) == 1
