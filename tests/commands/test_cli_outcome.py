"""Check `rdv outcome`: one outcome from the command line, many from a file."""

from __future__ import annotations

import gzip
import json
import os
import pwd
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import Raw

from rdv.rendezvous.messages import Request, encode_request
from rdv.stream import open_stream

NOON_NS = 1_777_638_600 * 10**9
ID = "5ae4f30309242db1ca88000000000000"


def told(decision):
    with open_stream(str(decision / "outcomes")) as stream, stream.consumer(["cli"]) as reader:
        lines = [json.loads(record.value) for record in reader.poll(10_000)]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {line.pop("source") for line in lines} <= {f"cli:{user}"}
    return lines


@pytest.mark.parametrize(
    ("word", "value"),
    [("fraud", "fraud"), ("1", 1), ("true", True), ("null", None), ('{"a": 1}', {"a": 1})],
)
def test_one_outcome(rdv, decision, word, value):
    assert rdv("outcome", "fraud", ID, word).code == 0
    assert told(decision) == [{"v": 1, "id": ID, "outcome": value}]


def test_an_outcome_with_a_time(rdv, decision):
    found = rdv("outcome", "fraud", ID, "1", "--time", "2026-05-01T14:30:00+02:00", "--json")
    assert found.row() == {"recorded": 1, "unknown_ids": 0}
    found = rdv("outcome", "fraud", ID, "1", "--time", "2026-05-01T12:30:00")
    assert "is read as UTC" in found.err
    assert rdv("outcome", "fraud", ID, "1", "--time", str(NOON_NS)).code == 0
    assert [line["time_ns"] for line in told(decision)] == [NOON_NS] * 3


def test_json_lines(rdv, decision, tmp_path):
    lines = [json.dumps({"id": f"r{n}", "outcome": n, "time": NOON_NS + n}) for n in range(2_500)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    found = rdv("outcome", "fraud", "--from", "t.jsonl")
    assert (found.code, found.err) == (0, "recorded 2,500 outcomes in fraud\n")
    assert [line["outcome"] for line in told(decision)] == list(range(2_500))
    assert rdv("outcome", "fraud", "--from", "-", stdin=b'{"id": "x", "outcome": 1}').code == 0
    assert told(decision)[-1]["id"] == "x"


def test_outcomes_from_csv(rdv, decision, tmp_path):
    text = '\ufeffamount,id,outcome,time\n1,a,fraud,2025-11-22\n2,b,1,\n3,c,"{""x"": 1}",'
    text += f"{NOON_NS}\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert rdv("outcome", "fraud", "--from", "t.csv").code == 0
    assert told(decision) == [
        {"v": 1, "id": "a", "outcome": "fraud", "time_ns": 1_763_769_600 * 10**9},
        {"v": 1, "id": "b", "outcome": 1},
        {"v": 1, "id": "c", "outcome": {"x": 1}, "time_ns": NOON_NS},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.jsonl", '{"id": "a", "outcome": 1}\n{"id": "b"}\n', "line 2 of the input is not"),
        ("t.jsonl", '{"id": "a", "outcome": 1}\n\nnope\n', "line 3 of the input"),
        ("t.jsonl", '{"id": "a", "outcome": 1, "time": "soon"}\n', "line 1 of the input"),
        ("t.jsonl", '{"id": "a", "outcome": 1, "time": 1777638600}\n', "looks like seconds"),
        ("t.csv", "id,outcome,time\na,1,1777638600000\n", "looks like milliseconds"),
        ("t.csv", "id,outcome,time\na,1,2999-01-01\n", "line 2 of the input has an unusable time"),
        ("t.csv", "id,outcome\na,18446744073709551616\n", "not within -2^63 to 2^64-1"),
        ("t.jsonl", '{"id": "a", "outcome": 18446744073709551616}\n', "line 1 of the input is not"),
        ("t.csv", "id,truth\na,1\n", "names no column 'outcome'"),
        ("t.csv", "id,outcome\na,1\nb\n", "line 3 of the input has fewer columns"),
        ("t.csv", "id,outcome\na,[1\n", "line 2 of the input cannot be used"),
        ("t.csv", "id,outcome\n,1\n", "line 2 of the input is not an outcome"),
        ("t.csv", 'id,outcome\na,"1\n', "is not CSV"),
    ],
)
def test_a_file_with_a_bad_line_is_not_recorded_at_all(rdv, decision, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    found = rdv("outcome", "fraud", "--from", name)
    assert found.code == 3
    assert said in found.err
    assert not (decision / "outcomes").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        ((ID,), 2),
        ((ID, "1", "--from", "x.csv"), 2),
        (("--from", "x.csv", "--time", "5"), 2),
        (("--from", "nowhere.csv"), 3),
        ((ID, "[1"), 3),
        ((ID, "1", "--time", "soon"), 2),
        ((ID, "1", "--time", "12"), 2),
        ((ID, "1", "--time", "1777638600"), 2),
        ((ID, "1", "--time", "2999-01-01T00:00:00Z"), 2),
        ((ID, "18446744073709551616"), 3),
        ((ID, "[" * 255 + "]" * 255), 3),
        (("i" * 65, "1"), 2),
    ],
)
def test_wrong_arguments_are_named(rdv, decision, arguments, code):
    found = rdv("outcome", "fraud", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith("error: ")


def asked(decision, *ids):
    """Put requests with these ids into the input."""
    with open_stream(str(decision / "input")) as stream, stream.producer() as producer:
        for id_ in ids:
            request = Request(
                id=id_, time_ns=NOON_NS, host="h", monotonic_ns=1, reply_to="p-1", data=Raw(b"1")
            )
            producer.send("p-1", encode_request(request))


IDS = [f"{n:032x}" for n in range(0xA0, 0xA4)]


def outcomes_of(decision):
    return {line["id"]: line["outcome"] for line in told(decision)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_tables_of_any_delimiter(rdv, decision, tmp_path, delimiter, suffix):
    asked(decision, *IDS)
    rows = [["amount", "request", "is_fraud"], ["1,5", IDS[0].upper(), "True"]]
    rows += [["2", IDS[1], ""], ["3", f" {IDS[2]} ", "0.0"], ["4", "unknown", "1"]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    opened = gzip.open if suffix.endswith(".gz") else open
    with opened(tmp_path / f"t{suffix}", "wt") as file:
        file.write("\n".join(lines) + "\n")
    columns = ("--id-column", "request", "--outcome-column", "is_fraud")
    found = rdv("outcome", "fraud", "--from", f"t{suffix}", *columns, "--json")
    assert found.row() == {"recorded": 3, "unknown_ids": 1, "without_outcome": 1}
    assert outcomes_of(decision) == {IDS[0]: "True", IDS[2]: 0.0, "unknown": 1}


def test_parquet(rdv, decision, tmp_path):
    asked(decision, *IDS)
    known = datetime(2026, 5, 1, 12, 30)  # noqa: DTZ001  as pandas writes it; it is read as UTC
    table = pa.table(
        {
            "id": IDS,
            "outcome": pa.array([1.0, float("nan"), None, 0.0]),
            "time": pa.array([known] * 4, pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    found = rdv("outcome", "fraud", "--from", "t.parquet", "--json")
    assert found.row() == {"recorded": 2, "unknown_ids": 0, "without_outcome": 2}
    assert [line["time_ns"] for line in told(decision)] == [NOON_NS] * 2
    assert outcomes_of(decision) == {IDS[0]: 1.0, IDS[3]: 0.0}
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    found = rdv("outcome", "fraud", "--from", "bad.parquet")
    assert (found.code, "is not Parquet" in found.err) == (3, True)


def test_fields_of_json_lines_may_have_other_names(rdv, decision, tmp_path):
    lines = [json.dumps({"req": n, "y": 1, "more": [1]}) for n in IDS]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    options = ("--id-column", "req", "--outcome-column", "y")
    assert rdv("outcome", "fraud", "--from", "t.jsonl", *options).code == 0
    assert outcomes_of(decision) == dict.fromkeys(IDS, 1)


def test_a_file_whose_ids_are_all_unknown_is_refused(rdv, decision, tmp_path):
    asked(decision, *IDS)
    (tmp_path / "t.csv").write_text("id,outcome\n17,1\n18,0\n")
    found = rdv("outcome", "fraud", "--from", "t.csv")
    assert found.code == 3
    assert "none of the 2 ids in t.csv is that of a recorded request" in found.err
    found = rdv("outcome", "fraud", "17", "1")
    assert (found.code, "1 id is of no recorded request" in found.err) == (0, True)
