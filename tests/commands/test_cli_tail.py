from __future__ import annotations

import pytest

from rdv.stream import open_stream


def values(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out.split()


def digits(text: str) -> list[str]:
    return list(text)


def test_the_last_ten_by_time_across_partitions(rdv, ten):
    with open_stream("s") as stream, stream.producer() as producer:
        producer.send_many("u", [b"a\n", b"b\n"])
    assert values(rdv("tail", "s", "--format", "raw")) == digits("23456789ab")
    assert values(rdv("tail", "s:t", "--format", "raw")) == digits("0123456789")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-n 3", "789"),
        ("-n 0", ""),
        ("-n 99999999999999999999", "0123456789"),
        ("-n 2 -p 0", "68"),
        ("--since 1h", "0123456789"),
        ("--since 1h -n 4", "6789"),
        ("--since 2200-01-01", ""),
        ("--until 2020-01-01", ""),
        ("--until now -n 2", "89"),
        ("--offset 3", "6789"),
        ("--offset 3 -n 3", "678"),
        ("--offset 5", ""),
        ("--offset 4 -n 0", ""),
    ],
)
def test_windows(rdv, ten, options, expected):
    shown = rdv("tail", "s:t", "--format", "raw", *options.split())
    assert values(shown) == digits(expected)


def test_since_and_until_cut_between_two_records(rdv, ten):
    rows = rdv("tail", "s:t").rows()
    middle = rows[5]["timestamp_ns"] // 1000 * 1000
    stamp = rows[5]["time"]
    later = rdv("tail", "s:t", "--since", stamp).rows()
    earlier = rdv("tail", "s:t", "--until", stamp).rows()
    assert earlier + later == rows
    assert all(row["timestamp_ns"] >= middle for row in later)


@pytest.mark.parametrize(
    ("value", "embedded"),
    [
        (b'{"a": [1, 2]}\n', {"a": [1, 2]}),
        (b'{\n  "a": 1\n}\n', {"a": 1}),
        (b"17\n", 17),
        (b"plain text\n", "plain text\n"),
        ("\u6f22\u5b57".encode(), "\u6f22\u5b57"),
        (b"", ""),
        (b"\xff\xfe", {"base64": "//4="}),
        (b'{"a": NaN}', '{"a": NaN}'),
    ],
)
def test_json_lines(rdv, stream, value, embedded):
    with open_stream("s") as opened, opened.producer() as producer:
        producer.send("t", value, partition=1)
    row = rdv("tail", "s", "--json").row()
    assert row["value"] == embedded
    assert (row["topic"], row["partition"], row["offset"]) == ("t", 1, 0)
    assert row["time"].endswith("Z")


def test_embedded_json_is_not_dumped_again(rdv, stream):
    with open_stream("s") as opened, opened.producer() as producer:
        producer.send("t", b'{"n":  1.50,"big": 123456789012345678901234567890}\n')
    assert '"value":{"n":  1.50,"big": 123456789012345678901234567890}}' in rdv("tail", "s").out


def test_raw_is_the_bytes(stream, start):
    value = b"\x00\xff no newline"
    with open_stream("s") as opened, opened.producer() as producer:
        producer.send_many("t", [value, value])
    assert start("tail", "s", "--format", "raw").communicate() == (value * 2, b"")


def test_a_table_off_a_terminal_is_plain_and_whole(rdv, stream, monkeypatch):
    with open_stream("s") as opened, opened.producer() as producer:
        producer.send("t", b"\x1b[2Jx" + b"y" * 200 + b"\n")
    monkeypatch.setenv("RDV_FORMAT", "table")
    head, line = rdv("tail", "s").out.splitlines()
    assert head.split() == ["TIME", "TOPIC", "PART", "OFFSET", "VALUE"]
    assert line.endswith("0  \\x1b[2Jx" + "y" * 200)


def test_many_partitions_are_read_a_few_at_a_time(rdv, stream, monkeypatch):
    monkeypatch.setattr("rdv.stream.window._OPEN_READERS_MAX", 1)
    monkeypatch.setattr("rdv.stream.window._CHUNK_RECORDS", 2)
    with open_stream("s") as opened, opened.producer() as producer:
        for number in range(10):
            producer.send("t", b"%d\n" % number)
    assert values(rdv("tail", "s", "--format", "raw")) == digits("0123456789")


def test_records_lost_to_retention_are_noted():
    from rdv.stream.errors import RecordsLost
    from rdv.stream.window import poll_or_note

    class Losing:
        def poll(self, max_records, timeout):
            raise RecordsLost("t", 0, 3, 7)

    notes = []
    assert poll_or_note(Losing(), 10, notes.append) == []
    assert "offsets 3 to 7 of t/0 are gone" in notes[0]
