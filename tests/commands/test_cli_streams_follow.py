"""Check that each `rdv serve` applies rdv.toml to the decision's streams, or says why not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rdv.decision import load_decision
from rdv.decision.streams import prepare_streams
from rdv.stream import StreamConfig, open_stream

STREAMS = ("input", "scores", "results", "control", "outcomes")


def set_key(text: str, line: str) -> str:
    """Return the text with `key = value` in place of the commented default of that key."""
    key = line.partition(" ")[0]
    changed, count = re.subn(rf"(?m)^#?{key} = .*$", line, text)
    assert count == 1, f"{key} is there {count} times"
    return changed


def edit(*lines: str) -> None:
    path = Path("fraud/rdv.toml")
    text = path.read_text()
    for line in lines:
        text = set_key(text, line)
    path.write_text(text)


def ask(rdv, key):
    outcome = rdv("ask", "fraud", '{"amount": 12.5}', "--key", key)
    assert outcome.code == 0, outcome.err
    return outcome.row()


def settings(name):
    return tomllib.loads(Path(f"fraud/{name}/stream.toml").read_text())


def test_more_partitions_and_other_log_settings_hold_from_the_next_start(rdv, serve):
    served = serve()
    assert ask(rdv, "a")["kind"] == "preferred"
    assert served.end() == 0
    edit("partitions = 4", 'fsync = "interval"', "retention_ms = 86400000", "segment_bytes = 65536")
    served = serve()
    kinds = [ask(rdv, f"key-{n}")["kind"] for n in range(16)]
    assert kinds == ["preferred"] * 16
    assert served.end() == 0
    for name in STREAMS:
        there = settings(name)
        assert (there["fsync"], there["retention_ms"]) == ("interval", 86_400_000)
        assert there["segment_bytes"] == 65_536
        assert there["partitions"] == (4 if name in STREAMS[:3] else 1)
    with open_stream("fraud/input", create=False) as stream:
        (topic,) = stream.topics()
        ends = [stream.end(topic, partition) for partition in range(stream.partitions(topic))]
    assert len(ends) == 4
    assert sum(ends) == 17
    assert sum(end > 0 for end in ends) > 1
    assert any("input: partitions is 4 now; it was 1" in line for line in served.lines)
    assert any("fsync is interval now; it was none" in line for line in served.lines)
    checked = rdv("verify", "fraud")
    assert checked.code == 0, checked.out + checked.err


def test_fewer_partitions_are_refused_and_nothing_has_changed(rdv, serve, decision):
    edit("partitions = 3")
    assert serve().end() == 0
    before = {name: Path(f"fraud/{name}/stream.toml").read_text() for name in STREAMS}
    edit("partitions = 2", 'fsync = "always"')
    outcome = rdv("serve", "fraud")
    assert outcome.code == 3
    assert "partitions: is 2, but input:p-" in outcome.err
    assert "has 3 partitions already" in outcome.err
    assert {name: Path(f"fraud/{name}/stream.toml").read_text() for name in STREAMS} == before


@pytest.mark.parametrize("name", STREAMS)
def test_what_only_a_stream_toml_can_say_is_kept(decision, name):
    """A limit by size, which an operator has set, is not in rdv.toml: it stays."""
    config = StreamConfig(retention_bytes=10**9, open_partitions_max=7, retention_ms=5)
    open_stream(f"fraud/{name}", config=config).close()
    said: list[str] = []
    prepare_streams(load_decision("fraud"), said.append)
    there = settings(name)
    assert (there["retention_bytes"], there["open_partitions_max"]) == (10**9, 7)
    assert there["retention_ms"] == 7 * 24 * 3600 * 1000
    assert [line for line in said if "retention_ms is 604800000 now; it was 5" in line]
    again: list[str] = []
    prepare_streams(load_decision("fraud"), again.append)
    assert again == []


def test_a_record_may_be_as_large_as_a_body(decision):
    edit(f"body_bytes_max = {64 * 1024 * 1024}")
    prepare_streams(load_decision("fraud"), print)
    assert settings("input")["record_bytes_max"] > 64 * 1024 * 1024
