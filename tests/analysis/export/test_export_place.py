"""Check that exports are complete or absent, keep other files, and skip and report damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pyarrow.dataset as ds
import pytest
from made_log import MadeLog, make_requests

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import (
    ExportUnderWay,
    NothingRecorded,
    OutputInUse,
    RecordsMissing,
    UnknownTable,
)
from rdv.analysis.export import study as module
from rdv.analysis.export.files import MANIFEST, Place
from rdv.analysis.export.study import export, read_tables
from rdv.errors import SystemFault
from rdv.stream import open_stream
from rdv.system.faults import faults


@pytest.fixture(scope="module")
def fraud(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "fraud"
    MadeLog(make_requests(200)).write(directory, segment_bytes=4096)
    return directory


@pytest.fixture
def write(fraud, tmp_path):
    def run(out="out", **options):
        with Recorded(str(fraud)) as recorded:
            return export(recorded, str(tmp_path / out), **options)

    return run


def files(directory):
    found = [os.path.join(at, name) for at, _, names in os.walk(directory) for name in names]
    return sorted(os.path.relpath(path, directory) for path in found)


def test_again_into_the_same_directory(write, tmp_path):
    write()
    before = files(tmp_path / "out")
    (tmp_path / "out" / "input" / "day=2023-11-14" / "old.parquet").write_bytes(b"x")
    write(tables=["input"])
    assert files(tmp_path / "out") == before
    assert MANIFEST in before
    assert ds.dataset(tmp_path / "out" / "input", partitioning="hive").count_rows() == 200


@pytest.mark.parametrize(
    "foreign", ["notes.txt", "input/day=2023-11-14/notes.txt", "input/x.parquet"]
)
def test_what_else_is_there_is_not_touched(write, tmp_path, foreign):
    write()
    path = tmp_path / "out" / foreign
    path.write_text("mine")
    before = files(tmp_path / "out")
    with pytest.raises(OutputInUse) as caught:
        write()
    assert caught.value.example == foreign
    assert files(tmp_path / "out") == before
    if "/" in foreign:
        with pytest.raises(OutputInUse):
            write(force=True)
    else:
        write(force=True)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_decision_is_never_written_into(tmp_path, force):
    """The streams of a decision have the same names as the tables."""
    directory = tmp_path / "fraud"
    MadeLog(make_requests(20)).write(directory)
    before = files(directory)
    with Recorded(str(directory)) as recorded, pytest.raises(OutputInUse) as caught:
        export(recorded, str(directory), force=force)
    assert caught.value.in_the_way
    assert files(directory) == before


@pytest.mark.parametrize("name", ["input", "joined"])
def test_a_link_or_a_file_in_the_place_of_a_table(write, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputInUse):
        write(force=True)
    assert (tmp_path / "out" / name).is_symlink()


def test_a_directory_that_is_no_export(write, tmp_path):
    mine = tmp_path / "out" / "input"
    mine.mkdir(parents=True)
    (mine / "day=1.parquet").write_text("mine")
    with pytest.raises(OutputInUse):
        write()
    assert (mine / "day=1.parquet").read_text() == "mine"


def test_an_empty_directory_will_do(write, tmp_path):
    (tmp_path / "out").mkdir()
    assert write().tables["input"].rows == 200


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_aborted_export_leaves_nothing(write, tmp_path, monkeypatch, error):
    def fails(*_):
        with faults("out", "write"):
            raise error

    monkeypatch.setattr(module, "joined_rows", fails)
    with pytest.raises((KeyboardInterrupt, SystemFault)):
        write()
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises((KeyboardInterrupt, SystemFault)):
        write()
    assert files(tmp_path / "out") == []
    monkeypatch.undo()
    write()
    before = files(tmp_path / "out")
    monkeypatch.setattr(module, "joined_rows", fails)
    with pytest.raises((KeyboardInterrupt, SystemFault)):
        write()
    assert files(tmp_path / "out") == before


KILLED = """
import os, sys
from rdv.analysis.export import study as module
from rdv.analysis.dataset.places import Recorded

def die(*_):
    print("writing", flush=True)
    sys.stdin.read()

module.joined_rows = die
with Recorded(sys.argv[1]) as recorded:
    module.export(recorded, sys.argv[2])
"""


def test_a_killed_export_leaves_nothing_that_is_read(write, fraud, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(fraud), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        assert all(name.startswith(".") for name in os.listdir(out))
        with pytest.raises(ExportUnderWay):
            write()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert all(name.startswith(".") for name in os.listdir(out))
    write()
    assert not [name for name in os.listdir(out) if name.startswith(".")]


def test_damage_is_skipped_and_reported(tmp_path):
    directory = tmp_path / "fraud"
    MadeLog(make_requests(200)).write(directory, segment_bytes=4096)
    values = sorted((directory / "scores" / "gbm" / "0").glob("*.jsonl"))[1]
    data = bytearray(values.read_bytes())
    data[10] ^= 0xFF
    values.write_bytes(data)
    with Recorded(str(directory)) as recorded:
        found = export(recorded, str(tmp_path / "out"))
    assert found.notes.damaged >= 1
    with open_stream(str(directory / "scores")) as stream:
        written = sum(stream.end(model) for model in stream.topics())
    assert found.tables["scores"].rows == written - found.notes.damaged
    assert found.tables["input"].rows == found.tables["joined"].rows == 200
    with pytest.raises(RecordsMissing, match="damaged record"):
        found.raise_if_damaged()


def test_records_that_are_no_messages_are_reported(tmp_path):
    directory = tmp_path / "fraud"
    MadeLog(make_requests(20)).write(directory)
    with open_stream(str(directory / "outcomes")) as stream, stream.producer() as producer:
        producer.send("cli", b"nonsense\n")
    with Recorded(str(directory)) as recorded:
        found = export(recorded, str(tmp_path / "out"))
    assert found.notes.malformed["outcomes"] == 1
    assert found.tables["outcomes"].rows == 0
    table = ds.dataset(tmp_path / "out" / "outcomes", partitioning="hive").to_table()
    assert (len(table), "outcome_label" in table.column_names) == (0, True)
    found.raise_if_damaged()


def test_nothing_to_export(fraud, tmp_path):
    with Recorded(str(fraud)) as recorded, pytest.raises(NothingRecorded):
        export(recorded, str(tmp_path / "out"), since_ns=2**62)
    assert not (tmp_path / "out").exists()


def test_tables_are_named():
    assert read_tables([]) == ("input", "scores", "results", "outcomes", "joined")
    assert read_tables(["joined", "input"]) == ("input", "joined")
    with pytest.raises(UnknownTable):
        read_tables(["inputs"])


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemFault):
        Place(str(tmp_path / "out"))
