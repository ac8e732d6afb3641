"""Check that the decoy archives what models see, byte for byte and with a limit."""

import os

from rdv.models import open_model
from rdv.models.decoy import Decoy

DAY_S = 86_400


def archived(place):
    return {name: (place / name).read_bytes() for name in sorted(os.listdir(place))}


def test_it_keeps_every_byte_and_reports_nothing(tmp_path):
    decoy = open_model(str(tmp_path), "watcher", builtin="decoy")
    assert decoy.takes == "lines"
    assert decoy.predict([b'{"id": 1}\n', b"\xff garbage\n"]) == [None, None]
    assert decoy.predict([b"no line break"]) == [None]
    decoy.close()
    (data,) = archived(tmp_path / "decoy" / "watcher").values()
    assert data == b'{"id": 1}\n\xff garbage\nno line break\n'


def test_a_file_a_day_and_the_oldest_go(tmp_path):
    now = [0.0]
    decoy = Decoy(str(tmp_path / "d"), 16 * 100, wall_s=lambda: now[0])
    for day in range(40):
        now[0] = day * DAY_S
        for _ in range(3):
            decoy.predict([b"x" * 59])
        names = archived(tmp_path / "d")
        assert sum(map(len, names.values())) <= 16 * 100 + 100
    assert max(names) == "1970-02-09.jsonl"
    assert "1970-01-01.jsonl" not in names
    assert "1970-02-09.1.jsonl" in names


def test_files_that_are_not_ours_stay(tmp_path):
    (tmp_path / "notes.jsonl").write_bytes(b"x" * 10_000)
    decoy = Decoy(str(tmp_path), 1600, wall_s=lambda: 0.0)
    for _ in range(50):
        decoy.predict([b"x" * 99])
    assert "notes.jsonl" in os.listdir(tmp_path)


def test_more_than_ten_files_a_day_go_in_their_order(tmp_path):
    decoy = Decoy(str(tmp_path), 1600, wall_s=lambda: 0.0)
    for number in range(40):
        decoy.predict([b"%099d" % number])
    lines = b"".join(archived(tmp_path).values()).split()
    assert sorted(map(int, lines)) == list(range(40 - len(lines), 40))


def test_two_instances_share_a_directory(tmp_path):
    decoys = [Decoy(str(tmp_path), 10**6) for _ in range(2)]
    for number in range(20):
        decoys[number % 2].predict([b"%d" % number])
    assert sorted(b"".join(archived(tmp_path).values()).split(), key=int) == [
        b"%d" % number for number in range(20)
    ]


def test_what_cannot_be_written_is_counted(tmp_path):
    (tmp_path / "file").write_text("")
    decoy = Decoy(str(tmp_path / "file"), 10**6)
    assert decoy.predict([b"a", b"b"]) == [None, None]
    assert decoy.lost == 2
