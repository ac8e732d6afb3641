"""Check `rdv outcome`: one outcome from the command line, many from a file."""

from __future__ import annotations

import json
import os
import pwd

import pytest

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
    assert found.row() == {"recorded": 1}
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
