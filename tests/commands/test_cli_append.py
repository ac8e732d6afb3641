from __future__ import annotations

import os
import threading
from functools import partial

import pytest

from rdv.commands.stream.append import line_batches
from rdv.errors import LineUnusable
from rdv.stream import StreamConfig, open_stream


def stored(topic: str = "t") -> dict[int, list[bytes]]:
    with open_stream("s") as stream, stream.consumer([topic]) as consumer:
        found: dict[int, list[bytes]] = {}
        while records := consumer.poll():
            for record in records:
                found.setdefault(record.partition, []).append(record.value)
    return found


def test_each_line_keeps_its_newline_and_blank_ones_are_passed_over(rdv, stream):
    done = rdv("stream", "append", "s:t", "-p", 1, stdin=b"a\n\n \t\r\n\xff\r\x00\nlast")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "appended 3 records to s:t\n  skipped 2 blank lines\n  partition 1: 3, offsets 0 to 2\n"
    )
    assert stored() == {1: [b"a\n", b"\xff\r\x00\n", b"last\n"]}


def test_as_json(rdv, stream):
    rdv("stream", "append", "s:t", "-p", 0, stdin=b"a\n")
    done = rdv("stream", "append", "s:t", "-p", 0, "--json", stdin=b"b\nc\n")
    assert done.err == ""
    assert done.row() == {
        "address": "s:t",
        "records": 2,
        "size_bytes": 4,
        "blank_lines": 0,
        "partitions": [{"partition": 0, "records": 2, "first_offset": 1, "last_offset": 2}],
    }


def test_only_create_makes_a_stream(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rdv("stream", "append", "s:t", stdin=b"a\n").code == 3
    assert not (tmp_path / "s").exists()
    done = rdv("stream", "append", "s:t", "--create", stdin=b"a\n")
    assert (done.code, done.err.splitlines()[:2]) == (0, ["made stream s", "made topic t"])
    assert rdv("stream", "append", "s:t", "--quiet").err == ""
    assert stored() == {0: [b"a\n"]}


def test_create_makes_a_stream_beside_others(rdv, stream):
    done = rdv("stream", "append", "./u:t", "--create", stdin=b"a\n")
    assert (done.code, done.err.splitlines()[0]) == (0, "made stream u")


def test_a_field_decides_the_partition(rdv, stream):
    lines = [b'{"user": "u%d", "n": %d}\n' % (n % 5, n) for n in range(50)]
    done = rdv("stream", "append", "s:t", "--key-field", "user", stdin=b"".join(lines))
    assert done.code == 0
    with open_stream("s") as opened, opened.producer() as producer:
        expected: dict[int, list[bytes]] = {}
        for n, line in enumerate(lines):
            partition = producer.partition_for("t", b"u%d" % (n % 5))
            expected.setdefault(partition, []).append(line)
    assert stored() == expected


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"not json\n", "line 2 of the input is not JSON"),
        (b'{"other": 1}\n', "line 2 of the input has no field 'user'"),
        (b"[1]\n", "line 2 of the input has no field 'user'"),
        (b'{"user": [1]}\n', "line 2 of the input has an array as its key, in field 'user'"),
        (b'{"user": {}}\n', "line 2 of the input has an object as its key"),
        (b'{"user": null}\n', "line 2 of the input has null as its key"),
        (b'\n{"user": []}\n', "line 3 of the input has an array as its key"),
    ],
)
def test_a_line_without_its_key_stops_after_those_before(rdv, stream, bad, says):
    lines = b'{"user": 1}\n' + bad + b'{"user": 3}\n'
    done = rdv("stream", "append", "s:t", "--key-field", "user", stdin=lines)
    assert done.code == 3
    assert says in done.err
    assert "appended 1 record to s:t" in done.err
    assert [value for values in stored().values() for value in values] == [b'{"user": 1}\n']


def test_a_line_above_the_limit_is_named_and_those_before_are_kept(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_stream("s", config=StreamConfig(record_bytes_max=10)).close()
    done = rdv("stream", "append", "s:t", stdin=b"123456789\nb\n1234567890\nd\n")
    assert done.code == 3
    assert "line 3 of the input is longer than the 10 bytes" in done.err
    assert stored() == {0: [b"123456789\n", b"b\n"]}


@pytest.mark.parametrize("piece_bytes", [1, 3, 7, 100])
def test_lines_are_the_same_however_they_arrive(piece_bytes):
    data = b"one\n\ntwo three\nfour\n" * 3 + b"last"
    read_fd, write_fd = os.pipe()

    def write() -> None:
        for at in range(0, len(data), piece_bytes):
            os.write(write_fd, data[at : at + piece_bytes])
        os.close(write_fd)

    writer = threading.Thread(target=write)
    writer.start()
    number, lines = 1, []
    for batch in line_batches(partial(os.read, read_fd), 100):
        assert batch.first_line == number
        number += len(batch.lines)
        lines += batch.lines
    writer.join()
    os.close(read_fd)
    assert lines == [line + b"\n" for line in data.split(b"\n")]


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_an_endless_line_is_refused_before_it_is_all_in_memory():
    with (
        open("/dev/zero", "rb", buffering=0) as zeros,
        pytest.raises(LineUnusable, match="line 1 "),
    ):
        list(line_batches(zeros.read, 3 * 1024 * 1024))
