"""Check that requests come in order, each once, as the model would have got them."""

from __future__ import annotations

import json

import msgspec
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NoArchive
from rdv.analysis.replay import source as module
from rdv.analysis.replay.source import ArchiveSource, InputSource, Stretch
from rdv.analysis.replay.study import _jobs
from rdv.errors import SystemFault
from rdv.models import open_model
from rdv.rendezvous.messages import Request, encode_request
from rdv.stream import StreamConfig, open_stream

quick = settings(derandomize=True, deadline=None, max_examples=30)


def request(number):
    data = msgspec.Raw(b'{"n": %d}' % number)
    return Request(f"r{number}", BEGIN_NS + number, "h", number, "p-1", data, deadline_ms=50.0)


def write(directory, places, partitions=3):
    """Append each (number, topic, partition) of `places` as a request, a millisecond apart."""
    clock = FakeClock()
    config = StreamConfig(partitions=partitions, segment_bytes=4096)
    with (
        open_stream(str(directory / "input"), config=config, clock=clock) as stream,
        stream.producer() as producer,
    ):
        for at, (number, topic, partition) in enumerate(places):
            clock.move_to(BEGIN_NS + at * 1_000_000)
            producer.send(topic, encode_request(request(number)), partition=partition)


def read(directory, takes="values", *bounds):
    with Recorded(str(directory)) as recorded:
        source = InputSource(recorded, takes, *(bounds or (None, None)))
        stretches = list(source)
        total = source.total
    rows = [
        (request, row, at)
        for stretch in stretches
        for request, row, at in zip(stretch.requests, stretch.rows, stretch.append_ns, strict=True)
    ]
    return rows, source.notes, total


@quick
@given(
    st.lists(
        st.tuples(st.sampled_from(["p-1", "p-2"]), st.integers(0, 2)), min_size=1, max_size=80
    ),
    st.integers(1, 40),
)
def test_the_order_of_the_appends_whatever_the_windows(tmp_path_factory, places, window):
    directory = tmp_path_factory.mktemp("source")
    write(directory, [(number, *place) for number, place in enumerate(places)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW_REQUESTS", window)
        rows, notes, total = read(directory)
    assert [request.id for request, _, _ in rows] == [f"r{n}" for n in range(len(places))]
    assert [row for _, row, _ in rows] == [b'{"n": %d}' % n for n in range(len(places))]
    assert total == notes.requests == len(places)


def test_bounds_and_whole_lines(tmp_path):
    write(tmp_path, [(n, "p-1", n % 3) for n in range(30)])
    bounds = BEGIN_NS + 10 * 1_000_000, BEGIN_NS + 20 * 1_000_000
    rows, _, total = read(tmp_path, "lines", *bounds)
    assert [row for _, row, _ in rows] == [encode_request(request(n)) for n in range(10, 20)]
    assert total == 10


def test_the_first_request_of_an_id_counts_and_malformed_ones_are_reported(tmp_path):
    write(tmp_path, [(n, "p-1", 0) for n in (0, 1, 0, 2)])
    clock = FakeClock()
    clock.move_to(BEGIN_NS + 10**9)
    with (
        open_stream(str(tmp_path / "input"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        producer.send("p-1", b"nonsense\n", partition=1)
    rows, notes, _ = read(tmp_path)
    assert [request.id for request, _, _ in rows] == ["r0", "r1", "r2"]
    assert notes.duplicate_requests == 1
    assert notes.malformed["input"] == 1


def test_damage_is_skipped_and_reported(tmp_path):
    write(tmp_path, [(n, "p-1", 0) for n in range(200)], 1)
    values = sorted((tmp_path / "input" / "p-1" / "0").glob("*.jsonl"))[1]
    data = bytearray(values.read_bytes())
    data[20] ^= 0xFF
    values.write_bytes(data)
    rows, notes, _ = read(tmp_path)
    assert notes.damaged >= 1
    assert len(rows) == 200 - notes.damaged


@quick
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 16))
def test_batches_are_full_whatever_the_stretches(sizes, batch_max):
    number, stretches = 0, []
    for size in sizes:
        numbers = range(number, number + size)
        number += size
        stretches.append(
            Stretch([request(n) for n in numbers], [b"%d" % n for n in numbers], list(numbers))
        )
    jobs = list(_jobs(stretches, batch_max))
    assert [row for job in jobs for row in job.rows] == [b"%d" % n for n in range(number)]
    assert all(len(job.rows) == batch_max for job in jobs[:-1])
    for job in jobs:
        requests, times = job.about
        assert [b"%d" % at for at in times] == list(job.rows)
        assert [r.id for r in requests] == [f"r{at}" for at in times]


@pytest.fixture
def archive(tmp_path):
    """Write an archive with a decoy, in files of a few lines."""
    decoy = open_model(str(tmp_path), "archive", builtin="decoy", archive_bytes_max=16 * 4096)
    lines = [encode_request(request(n)) for n in range(300)]
    for at in range(0, 300, 7):
        decoy.predict(lines[at : at + 7])
    assert len(list((tmp_path / "decoy" / "archive").iterdir())) > 3
    return tmp_path, lines


@pytest.mark.parametrize("read_bytes", [300, 4096, 4 * 1024 * 1024])
def test_an_archive_is_read_as_it_was_written(archive, monkeypatch, read_bytes):
    monkeypatch.setattr(module, "ARCHIVE_READ_BYTES", read_bytes)
    directory, lines = archive
    source = ArchiveSource(str(directory), "archive", "lines", None, None)
    assert [row for stretch in source for row in stretch.rows] == lines
    source = ArchiveSource(str(directory), "archive", "data", BEGIN_NS + 5, BEGIN_NS + 9)
    assert [row for s in source for row in s.rows] == [b'{"n": %d}' % n for n in range(5, 9)]
    assert not source.notes.malformed.total()


def test_a_torn_line_and_a_bad_one_spoil_no_other(archive):
    directory, lines = archive
    (first, *_, last) = sorted((directory / "decoy" / "archive").iterdir(), key=str)
    first.write_bytes(b'{"id": 7}\n' + first.read_bytes())
    last.write_bytes(last.read_bytes()[:-20])
    source = ArchiveSource(str(directory), "archive", "lines", None, None)
    found = [row for stretch in source for row in stretch.rows]
    assert len(found) == len(lines) - 1
    assert set(found) <= set(lines)
    assert source.notes.malformed["archive"] == 2


def test_a_carriage_return_between_tokens_is_no_end_of_a_line(tmp_path):
    data = msgspec.Raw(b'{\r\n "n": 1}')
    decoy = open_model(str(tmp_path), "archive", builtin="decoy")
    line = encode_request(Request("r", BEGIN_NS, "h", 1, "p-1", data))
    decoy.predict([line, line])
    source = ArchiveSource(str(tmp_path), "archive", "lines", None, None)
    assert [row for stretch in source for row in stretch.rows] == [line, line]


def test_no_archive(tmp_path):
    with pytest.raises(NoArchive):
        ArchiveSource(str(tmp_path), "archive", "data", None, None)


def test_an_archive_that_cannot_be_read(archive):
    directory, _ = archive
    source = ArchiveSource(str(directory), "archive", "data", None, None)
    for path in (directory / "decoy" / "archive").iterdir():
        path.unlink()
    with pytest.raises(SystemFault):
        list(source)


def test_a_models_own_data_is_not_rewritten(tmp_path):
    write(tmp_path, [(1, "p-1", 0)])
    ((_, row, _),) = read(tmp_path, "data")[0]
    assert row == b'{"n": 1}'
    assert json.loads(row) == {"n": 1}
