"""Check that an export equals the log row by row, and that other programs can read it."""

from __future__ import annotations

import json

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import BEGIN_NS, MadeLog, make_requests

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import KINDS
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.export.arrow import SCHEMAS, Answer, Answers, answer_of
from rdv.analysis.export.columns import REPORT, TABLES, describe_columns
from rdv.analysis.export.study import export
from rdv.rendezvous.messages import Truth, encode_truth
from rdv.stream import open_stream

COUNT = 600
HOURS_MS = 3_600_000.0


def record_outcomes(directory, truths):
    clock = FakeClock()
    with (
        open_stream(str(directory / "outcomes"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        for id_, value in truths:
            line = encode_truth(Truth(id_, msgspec.Raw(value)))
            producer.send("cli", line, partition=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export three days of requests, at most an hour apart; return directory, out, log, found."""
    directory = tmp_path_factory.mktemp("export") / "fraud"
    requests = make_requests(COUNT, gap_ms=0.12 * HOURS_MS)
    log = MadeLog(requests, partitions=2)
    log.write(directory)
    record_outcomes(directory, [(requests[3].id, b'{"action":"block"}'), (requests[4].id, b"1")])
    out = directory / "out"
    with Recorded(str(directory)) as recorded:
        found = export(recorded, str(out))
    return directory, out, log, found


def read(out, table):
    return ds.dataset(out / table, partitioning="hive").to_table()


def test_the_schemas_are_as_documented(exported):
    _, out, _, _ = exported
    for table, columns in TABLES.items():
        found = read(out, table)
        assert found.column_names == [*(c.name for c in columns), "day"]
        assert found.schema.remove(len(columns)).equals(SCHEMAS[table])
    text = "\n".join(describe_columns())
    for column in (*REPORT, *(c for columns in TABLES.values() for c in columns)):
        assert column.meaning in text


def test_every_record_is_a_row(exported):
    directory, out, _, found = exported
    for name in ("input", "scores", "results", "outcomes"):
        with open_stream(str(directory / name)) as stream, stream.consumer() as reader:
            lines = {}
            while records := reader.poll(10_000):
                lines |= {(r.topic, r.partition, r.offset): r for r in records}
        rows = read(out, name).to_pylist()
        topics = {"input": "proxy", "scores": "model", "results": "proxy", "outcomes": "topic"}
        assert {(r[topics[name]], r["partition"], r["offset"]) for r in rows} == set(lines)
        assert len(rows) == len(lines) == found.tables[name].rows
        for row in rows:
            record = lines[row[topics[name]], row["partition"], row["offset"]]
            line = json.loads(record.value)
            assert row["id"] == line["id"]
            assert abs(row["appended"].timestamp() - record.timestamp_ns / 1e9) < 2e-6
            assert str(row["appended"].date()) == row["day"]
            for key in ("data", "result", "outcome"):
                if isinstance(line.get(key), dict):
                    assert json.loads(row[key]) == line[key]


def test_joined_is_the_join(exported):
    directory, out, log, _ = exported
    rows = read(out, "joined").sort_by("appended").to_pylist()
    joined, _ = read_joined(str(directory))
    assert [row["id"] for row in rows] == [joined.id(n) for n in range(COUNT)]
    for n, row in enumerate(rows):
        assert row["kind"] == KINDS[joined.kind[n]]
        assert row["model"] == joined.model.at(n)
        result = log.results[row["id"]]
        assert json.loads(row["result"]) == json.loads(bytes(result.result))
        assert row["waited_ms"] == result.waited_ms
        assert row["code"] == (result.code or None)
        assert {r["model"] for r in row["reports"]} == {
            model for m, model in enumerate(joined.models) if joined.outcome[m, n]
        }
    assert {row["code"] for row in rows} >= {None, "champion_late"}
    assert [row["outcome"] for row in rows[3:6]] == ['{"action":"block"}', "1", None]
    assert [row["outcome_label"] for row in rows[3:6]] == ["block", "1", None]
    assert [row["outcome_score"] for row in rows[3:6]] == [None, 1.0, None]


def test_pandas_and_duckdb_read_it(exported):
    _, out, _, found = exported
    frame = pd.read_parquet(out / "joined")
    assert len(frame) == COUNT
    assert frame["appended"].dt.tz is not None
    assert frame["day"].nunique() == 4
    pattern = f"{out}/*/**/*.parquet".replace("*/**", "scores/**")
    with duckdb.connect() as database:
        (rows, days, models) = database.execute(
            "select count(*), count(distinct day), count(distinct model) "
            f"from read_parquet('{pattern}', hive_partitioning = true)"
        ).fetchone()
        (reports,) = database.execute(
            "select count(*) from (select unnest(reports, recursive := true) "
            f"from read_parquet('{out}/joined/**/*.parquet'))"
        ).fetchone()
    assert (rows, days, models) == (found.tables["scores"].rows, 4, 3)
    assert reports == rows
    # All tables at once: pyarrow skips files that are not data.
    assert ds.dataset(out, partitioning="hive", format="parquet").count_rows() == sum(
        written.rows for written in found.tables.values()
    )


def test_since_and_until(exported, tmp_path):
    directory, _, _, _ = exported
    since_ns, until_ns = (BEGIN_NS + int(h * HOURS_MS * 1e6) for h in (12, 24))
    with Recorded(str(directory)) as recorded:
        found = export(recorded, str(tmp_path / "o"), since_ns, until_ns, tables=["input"])
    times = read(tmp_path / "o", "input")["appended"].cast(pa.int64()).to_numpy() * 1000
    assert len(times) == found.tables["input"].rows == 100
    assert ((times >= since_ns) & (times < until_ns)).all()
    assert np.diff(np.sort(times)).min() > 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["action", "label", "score", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(derandomize=True, deadline=None)
@given(json_values)
def test_any_answer_has_a_label_or_none(value):
    found = answer_of(value)
    assert found.label is None or isinstance(found.label, str)
    assert found.score is None or isinstance(found.score, float)
    text = json.dumps(value).encode()
    assert Answers().of_json(text) == answer_of(json.loads(text))


@pytest.mark.parametrize(
    ("value", "label", "score"),
    [
        ({"action": "block", "score": 0.5}, "block", 0.5),
        ({"label": 7}, "7", None),
        ({"bin": True, "probability": 1}, "true", 1.0),
        ({"score": True}, None, None),
        ({"score": "0.5"}, None, None),
        ("fraud", "fraud", None),
        (1, "1", 1.0),
        (0.25, None, 0.25),
        (True, "true", None),
        (None, None, None),
        ([1], None, None),
    ],
)
def test_answers(value, label, score):
    assert answer_of(value) == Answer(label, score)


def test_what_is_no_json_has_neither():
    assert Answers().of_json(b"{") == Answer()
