"""Check `rdv score` through a running decision: kinds of files, refusals, resuming, exit codes."""

from __future__ import annotations

import gzip
import json
import math

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from echo import echoing
from ports import free_port

from rdv.__main__ import main
from rdv.commands.score import Sender, request_of
from rdv.decision import Decision
from rdv.decision.answer_file import AnswerFile
from rdv.decision.proxies import ProxyAddress, Refused, refusal
from rdv.errors import NotUsable

SETTINGS = """
[http]
port = PORT
rows_max = 7

[schema]
on_invalid = "reject"
[schema.columns]
n = { type = "integer", min = 0 }
x = { type = "number", nullable = true }
"""
MODEL = """
version = "1"
def predict(rows):
    return [{"double": 2 * row["n"], "x": row["x"], "saw": row} for row in rows]
"""


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    directory = tmp_path_factory.mktemp("score") / "d"
    with echoing(directory, SETTINGS, models={"echo": MODEL}) as running:
        yield running


def score(decision, *arguments):
    return main(["score", str(decision.directory), *map(str, arguments)])


def test_two_processes_do_not_write_the_same_answers(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}")
    paths = str(tmp_path / "out.jsonl"), str(tmp_path / "rows.jsonl")
    first = AnswerFile(*paths, {})
    with pytest.raises(NotUsable, match=r"out\.jsonl\.partial: another rdv score writes it"):
        AnswerFile(*paths, {})
    first.add([{"row": 0, "kind": "preferred"}])
    first.close()
    second = AnswerFile(*paths, {})
    assert second.done == 1
    second.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"my own notes\n", "it is not a file of rdv score"),
        (b"no line", "it is not a file of rdv score"),
        (b'{"source":["/a",1,2],"options":{}}\n{"row":0}\n', "has 1 answers to the rows of /a"),
        (b'{"source":["HERE",1,2],"options":{}}\n{"row":0}\n', "before it was changed"),
        (b'{"source":SAME,"options":{"x":1}}\n{"row":0}\n', "with other options"),
    ],
    ids=["notes", "no line", "another file", "changed", "options"],
)
def test_a_partial_file_of_something_else_is_never_overwritten(tmp_path, content, said):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text("{}")
    place = [str(source), 2, source.stat().st_mtime_ns]
    content = content.replace(b"HERE", str(source).encode())
    content = content.replace(b"SAME", json.dumps(place, separators=(",", ":")).encode())
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(content)
    with pytest.raises(NotUsable, match=said) as caught:
        AnswerFile(str(out), str(source), {})
    assert f"Remove {partial}" in caught.value.hint()
    assert partial.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"", b'{"source":["/a",1,2],"options":{}}\n', b'{"source":["'], ids=[0, 1, 2]
)
def test_a_partial_file_without_answers_is_begun_anew(tmp_path, content):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text("{}")
    (tmp_path / "out.jsonl.partial").write_bytes(content)
    answers = AnswerFile(str(out), str(source), {})
    assert answers.done == 0
    answers.add([{"row": 0, "kind": "preferred"}])
    answers.finish()
    answers.close()
    assert json.loads(out.read_text())["kind"] == "preferred"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_the_rows_are_not_overwritten_by_their_answers(tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(source)
    for out in ("rows.jsonl", "link.jsonl"):
        with pytest.raises(NotUsable, match="the rows to score"):
            AnswerFile(str(tmp_path / out), str(source), {})
    (tmp_path / "x.jsonl.partial").symlink_to(source)
    with pytest.raises(NotUsable, match="the rows to score"):
        AnswerFile(str(tmp_path / "x.jsonl"), str(source), {})
    assert source.read_text() == "{}"


@pytest.mark.parametrize("bytes_max", [700, 100_000])
def test_batches_are_as_small_as_the_decision_wants_them(tmp_path, bytes_max):
    settings = f"[http]\nport = PORT\nbody_bytes_max = {bytes_max}\nrows_max = 1000\n"
    rows = [{"text": "x" * (n * 37 % 500)} for n in range(40)]
    rows[7] = {"text": "x" * bytes_max}
    rows[11] = {"text": "x" * (bytes_max - len('{"rows":[{"data":{"text":""}}]}'))}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = "def predict(rows):\n    return [{'size': len(row['text'])} for row in rows]\n"
    with echoing(tmp_path / "d", settings, models={"echo": model}) as running:
        assert score(running, tmp_path / "rows.jsonl", "-o", tmp_path / "out.jsonl") == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    sizes = [len(row["text"]) for row in rows]
    assert [row["kind"] for row in found].count("refused") == 1
    assert found[7]["code"] == "body_too_large"
    sizes[7] = None
    assert [row.get("result.size") for row in found] == sizes


class Proxy:
    """Answers requests as a list of statuses says, and then well."""

    def __init__(self, *replies: tuple[int, dict, dict]) -> None:
        self.replies = list(replies)
        self.sizes: list[int] = []

    def __call__(self, proxy, body, timeout_s):
        del proxy, timeout_s
        rows = json.loads(body)["rows"]
        self.sizes.append(len(rows))
        if self.replies:
            raise refusal(*self.replies.pop(0))
        names = ("id", "kind", "code", "reason", "model", "version", "waited_ms")
        answer = dict.fromkeys(names, "x") | {"kind": "preferred"}
        return orjson.dumps({"answers": [answer | {"result": row["data"]} for row in rows]})


def error(code, **more):
    return json.dumps({"error": {"code": code, "message": code, **more}}).encode()


def sending(monkeypatch, proxy):
    slept: list[float] = []
    monkeypatch.setattr("rdv.commands.score.time.sleep", slept.append)
    monkeypatch.setattr("rdv.decision.proxies.post", proxy)
    return Sender(Decision(), ProxyAddress("d", "127.0.0.1", 1), {}), slept


def test_the_pause_is_the_one_that_the_proxy_names(monkeypatch):
    busy = error("too_many_requests")
    replies = [(429, busy, "3"), (503, busy, "0"), (429, busy, ""), (429, busy, "99999")]
    sender, slept = sending(monkeypatch, Proxy(*replies))
    assert [row["result"] for row in sender.send(5, [{"data": 1}])] == [1]
    assert slept == [3.0, 0.0, 1.0, 3600.0]


@pytest.mark.parametrize("code", ["number_out_of_range", "invalid_request", "body_too_large"])
def test_a_row_that_is_refused_is_found_among_the_others(monkeypatch, code):
    class Choosy(Proxy):
        def __call__(self, proxy, body, timeout_s):
            if any(row["data"] == "bad" for row in json.loads(body)["rows"]):
                raise refusal(422, error(code))
            return super().__call__(proxy, body, timeout_s)

    sender, _ = sending(monkeypatch, Choosy())
    rows = [{"data": "bad" if n in (3, 4, 9) else n, "key": f"k{n}"} for n in range(10)]
    found = sender.send(100, rows)
    assert [row["row"] for row in found] == [*range(100, 110)]
    assert [row["key"] for row in found] == [f"k{n}" for n in range(10)]
    assert [n for n in range(10) if found[n]["kind"] == "refused"] == [3, 4, 9]
    assert {found[n]["code"] for n in (3, 4, 9)} == {code}
    assert [found[n]["result"] for n in (0, 5, 8)] == [0, 5, 8]
    assert sender.kinds == {"preferred": 7, "refused": 3}


def test_what_is_wrong_with_the_whole_is_raised(monkeypatch):
    sender, _ = sending(monkeypatch, Proxy((422, error("unknown_schedule"))))
    with pytest.raises(Refused, match="unknown_schedule"):
        sender.send(0, [{"data": 1}, {"data": 2}])


@pytest.mark.parametrize(("key", "text"), [(42, "42"), (42.0, "42"), (4.5, "4.5"), ("007", "007")])
def test_whole_numbers_beside_missing_ones_are_the_keys_that_they_were(key, text):
    assert request_of(0, {"user": key}, "user")["key"] == text


def test_keys_of_a_table_stay_the_texts_that_they_are(decision, tmp_path):
    keys = ["1.10", "0012", "NA", "true", "123456789012345678901234567890", "1e3"]
    lines = ["n,x,user", *(f"1,1,{key}" for key in keys)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    assert score(decision, tmp_path / "rows.csv", "-o", out, "--key-column", "user") == 0
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == keys


def test_parquet_with_nan_and_a_row_that_is_refused(decision, tmp_path):
    ns = [*range(30)]
    ns[11] = -1
    xs = [math.nan if n % 3 == 0 else n / 2 for n in range(30)]
    keys = [f"k{n}" for n in range(30)]
    pq.write_table(pa.table({"n": ns, "x": xs, "user": keys}), tmp_path / "rows.parquet")
    out = tmp_path / "out.parquet"
    assert score(decision, tmp_path / "rows.parquet", "-o", out, "--key-column", "user") == 0
    table = pq.read_table(out).to_pydict()
    assert table["row"] == [*range(30)]
    assert table["key"] == keys
    assert table["kind"] == ["refused" if n == 11 else "preferred" for n in range(30)]
    assert table["code"][11] == "bad_input"
    assert table["reason"][11] == "data.n is -1, less than 0"
    assert table["result.double"] == [None if n == 11 else 2 * n for n in range(30)]
    assert table["result.x"] == [None if n % 3 == 0 or n == 11 else n / 2 for n in range(30)]
    assert "user" not in json.loads(table["result.saw"][0])
    lines = [json.loads(line) for _, line in decision.lines("input")]
    recorded = {line["id"]: line["key"] for line in lines}
    ids = [id_ for id_ in table["id"] if id_]
    assert [recorded[id_] for id_ in ids] == [key for key in keys if key != "k11"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "rows.parquet"]


def test_csv_and_lines_zipped_or_not(decision, tmp_path):
    (tmp_path / "rows.csv").write_text('n,x,name\n1,,"a, b"\n2,0.5,7x\n')
    out = tmp_path / "out.jsonl.gz"
    assert score(decision, tmp_path / "rows.csv", "-o", out) == 0
    with gzip.open(out) as file:
        rows = [json.loads(line) for line in file]
    assert [row["result.saw"] for row in rows] == [
        {"n": 1, "x": None, "name": "a, b"},
        {"n": 2, "x": 0.5, "name": "7x"},
    ]
    with gzip.open(tmp_path / "rows.jsonl.gz", "wb") as file:
        file.write(b'{"n": 3, "x": 1}\n\n{"n": 4}\n')
    assert score(decision, tmp_path / "rows.jsonl.gz", "-o", tmp_path / "out.csv") == 0
    head, first, second = (tmp_path / "out.csv").read_text().splitlines()
    assert "result.double" in head.split(",")
    assert first.startswith("0,")
    assert '""x"":null' in second


def test_it_goes_on_where_it_was_interrupted(decision, tmp_path, capsys):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    good = b"".join(b'{"n": %d, "x": 1}\n' % n for n in range(20))
    rows.write_bytes(good + b"[]\n")
    assert score(decision, rows, "-o", out) == 3
    assert "line 21 of the input is not an object" in capsys.readouterr().err
    assert not out.exists()
    partial = tmp_path / "out.jsonl.partial"
    kept = partial.read_bytes().splitlines(keepends=True)
    assert len(kept) == 15  # its head, and two whole batches
    stat = rows.stat()
    rows.write_bytes(good + b"   ")  # as large as before, and as old
    import os

    os.utime(rows, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    partial.write_bytes(b"".join(kept) + b'{"row": 14, "cut o')
    assert score(decision, rows, "-o", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["resumed"], said["kinds"]) == (20, 14, {"preferred": 6})
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["result.double"] for row in found] == [2 * n for n in range(20)]
    assert [json.loads(line)["id"] for line in kept[1:]] == [row["id"] for row in found[:14]]


@pytest.mark.parametrize(
    ("source", "arguments", "code", "said"),
    [
        ("rows.txt", (), 3, "suffix"),
        ("none.csv", (), 3, "none.csv"),
        ("broken.parquet", (), 3, "is no Parquet"),
        ("rows.jsonl", ("--key-column", "user"), 3, "has no column 'user'"),
        ("rows.jsonl", ("--share", "0"), 2, "--share"),
        ("rows.jsonl", ("--schedule", "none"), 3, "there is no schedule 'none'"),
    ],
)
def test_wrong_files_and_options(decision, tmp_path, capsys, source, arguments, code, said):
    (tmp_path / "rows.txt").write_text("1")
    (tmp_path / "broken.parquet").write_text("1")
    (tmp_path / "rows.jsonl").write_text('{"n": 1, "x": 1}\n')
    out = tmp_path / "out.csv"
    assert score(decision, tmp_path / source, "-o", out, *arguments) == code
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_decision_that_does_not_run(decision, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "rdv.toml").write_text(f"[http]\nport = {free_port()}\n")
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.csv"
    code = main(["score", str(tmp_path / "d"), str(rows), "-o", str(out)])
    assert code == 4
    assert str(tmp_path / "d") in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
