"""Check that TOML files are read as people save them, and that the rest is refused by name."""

from __future__ import annotations

import pytest

from rdv import toml_text
from rdv.decision.decision import read_schedules
from rdv.decision.load import load_decision
from rdv.decision.schedules import read_schedule_file
from rdv.rendezvous.schedule import InvalidSchedule
from rdv.stream import open_stream
from rdv.stream.errors import InvalidConfig

SCHEDULE = 'sla_ms = 50\ndefault = "für"\n[[step]]\naccept = ["a"]\n'
SAVED = {
    "UTF-8": SCHEDULE.encode(),
    "UTF-8 with a byte order mark": SCHEDULE.encode("utf-8-sig"),
    "Windows line ends": SCHEDULE.replace("\n", "\r\n").encode("utf-8-sig"),
}
UNUSABLE = {
    "line 2 is not UTF-8": SCHEDULE.encode("latin-1"),
    "line 1 is not UTF-8": SCHEDULE.encode("utf-16"),
    "nested too deeply": b"default = " + b"[" * 20_000 + b"]" * 20_000,
    "digits": b"default = " + b"9" * 5_000,
    "larger than 1,048,576 bytes": b"#" * (toml_text.BYTES_MAX + 1),
    "line 1": b"\0",
}


@pytest.mark.parametrize("data", SAVED.values(), ids=SAVED)
def test_a_schedule_is_read_as_it_was_saved(tmp_path, data):
    path = tmp_path / "schedules" / "s.toml"
    path.parent.mkdir()
    path.write_bytes(data)
    assert read_schedule_file(str(path), "s").default == "für"
    assert read_schedules(str(tmp_path)).by_name["s"].default == "für"


@pytest.mark.parametrize("reason", UNUSABLE)
def test_what_cannot_be_read_is_named(tmp_path, reason):
    path = tmp_path / "schedules" / "s.toml"
    path.parent.mkdir()
    path.write_bytes(UNUSABLE[reason])
    with pytest.raises(InvalidSchedule, match=reason):
        read_schedule_file(str(path), "s")
    assert reason in read_schedules(str(tmp_path)).unreadable["s"].text()


def test_settings_are_read_with_a_byte_order_mark(tmp_path):
    (tmp_path / "rdv.toml").write_bytes('name = "u"\n'.encode("utf-8-sig"))
    assert load_decision(str(tmp_path), {}).name == "u"


def test_the_settings_of_a_stream(tmp_path):
    settings = tmp_path / "s" / "stream.toml"
    with open_stream(str(tmp_path / "s"), create=True) as stream, stream.producer() as producer:
        producer.send("t", b"1")
    whole = settings.read_bytes()
    settings.write_bytes(b"\xef\xbb\xbf" + whole)
    with open_stream(str(tmp_path / "s")) as stream, stream.producer() as producer:
        assert producer.send("t", b"2")[1] == 1
    for reason, data in UNUSABLE.items():
        settings.write_bytes(data)
        with pytest.raises(InvalidConfig, match=reason), open_stream(str(tmp_path / "s")):
            pass
    settings.write_bytes(whole)
