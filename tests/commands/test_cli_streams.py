"""Check create, info, topics, purge, cursors, groups, bench, and what they have in common."""

from __future__ import annotations

import pytest

from rdv import __version__
from rdv.commands.app import RootGroup
from rdv.commands.lazy import LazyGroup
from rdv.commands.stream import StreamGroup
from rdv.native import NATIVE
from rdv.stream import StreamConfig, open_stream


def test_create_prints_what_it_made(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = rdv("stream", "create", "s", "--partitions", 3, "--segment-size", "1MiB", "--retention",
               "forever", "--retention-bytes", "2GiB", "--fsync", "interval", "--fsync-interval",
               "50ms", "--topic", "a", "--topic", "b")  # fmt: skip
    assert (made.code, made.err) == (0, "")
    settings = (
        "3 partitions per topic, segments of 1MiB, retention forever and 2GiB per partition, "
        "fsync every 50ms"
    )
    assert made.out.splitlines() == [
        f"made stream s: {settings}",
        "made topic a with 3 partitions",
        "made topic b with 3 partitions",
    ]
    with open_stream("s", create=False) as stream:
        assert stream.topics() == ["a", "b"]
        assert stream.config == StreamConfig(
            partitions=3, segment_bytes=1024**2, retention_ms=None, retention_bytes=2 * 1024**3,
            fsync="interval", fsync_interval_ms=50,
        )  # fmt: skip


def test_create_takes_the_environment_below_the_flags(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RDV_STREAM_PARTITIONS", "4")
    monkeypatch.setenv("RDV_STREAM_RETENTION", "2h")
    made = rdv("stream", "create", "s", "--partitions", 2, "--json").row()
    assert (made["partitions"], made["retention_ms"]) == (2, 2 * 3_600_000)
    assert rdv("stream", "create", "q", "--quiet").out == ""


def test_info_of_a_stream(rdv, ten):
    info = rdv("stream", "info", "s")
    assert info.code == 0
    assert "retention            7d" in info.out
    assert [line.split()[:6] for line in info.out.splitlines()[-2:]] == [
        ["t", "0", "0", "5", "5", "170"],
        ["t", "1", "0", "5", "5", "170"],
    ]
    row = rdv("stream", "info", "s:t", "--json", "-p", 1).row()
    (partition,) = row["partitions"]
    assert (partition["begin"], partition["end"], partition["segments"]) == (0, 5, 1)
    assert partition["newest"].endswith("Z")
    assert row["settings"]["partitions"] == 1


def test_topics_are_listed_made_grown_and_deleted(rdv, ten):
    assert rdv("stream", "topics", "s", "--json").row() == {
        "topic": "t", "partitions": 2, "records": 10, "size_bytes": 340,
    }  # fmt: skip
    assert rdv("stream", "topics", "s", "--create", "u").out == "made topic u with 1 partition\n"
    assert rdv("stream", "topics", "s", "--create", "u").code == 3
    assert rdv("stream", "topics", "s:u", "--partitions", 5).code == 0
    assert rdv("stream", "topics", "s:u", "--partitions", 4).code == 3
    assert rdv("stream", "topics", "s:missing", "--partitions", 4).code == 3
    refused = rdv("stream", "topics", "s:t", "--delete")
    assert refused.code == 3
    assert "Add --yes." in refused.err
    deleted = rdv("stream", "topics", "s:t", "--delete", "--yes")
    assert deleted.out == "deleted topic t with 10 records\n"
    assert [row["topic"] for row in rdv("stream", "topics", "s", "--json").rows()] == ["u"]


def test_purge(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = StreamConfig(segment_bytes=10)
    with open_stream("s", config=config) as stream, stream.producer() as producer:
        for _ in range(6):
            producer.send("t", b"123456789\n")
    assert rdv("stream", "purge", "s").err == "nothing to delete\n"
    by_offset = rdv("stream", "purge", "s:t", "--before-offset", 2, "--json").row()
    assert (by_offset["records"], by_offset["size_bytes"], by_offset["begin"]) == (2, 148, 2)
    by_age = rdv("stream", "purge", "s", "--older-than", "0")
    assert by_age.code == 0
    assert by_age.err.startswith("deleted 3 records")
    assert rdv("stream", "purge", "s", "--before-offset", 2).code == 2


def test_cursors_are_shown_set_and_deleted(rdv, ten):
    with open_stream("s") as stream, stream.consumer(["t"], group="g") as consumer:
        consumer.poll()
        consumer.commit()
    (first, second) = rdv("stream", "cursors", "s", "--json").rows()
    assert (first["committed"], first["end"], first["lag"], second["partition"]) == (5, 5, 0, 1)
    reset = rdv("stream", "cursors", "s:t", "-g", "g", "-p", 1, "--set", 2, "--json").row()
    assert (reset["committed"], reset["lag"]) == (2, 3)
    past = rdv("stream", "cursors", "s", "-g", "g", "--set", "1h", "--json").rows()
    assert [row["committed"] for row in past] == [0, 0]
    rdv("stream", "cursors", "s", "-g", "g", "--set", "latest")
    out_of_range = rdv("stream", "cursors", "s", "-g", "g", "--set", 6)
    assert (out_of_range.code, "no offset 6" in out_of_range.err) == (3, True)
    now = rdv("stream", "cursors", "s", "--json").rows()
    assert [row["committed"] for row in now] == [5, 5]
    assert rdv("stream", "cursors", "s", "-g", "g", "--delete").err == "deleted\n"
    assert rdv("stream", "cursors", "s").err == "no committed offsets\n"


def test_cursors_need_a_group_that_is_there(rdv, ten):
    assert "--group" in rdv("stream", "cursors", "s", "--set", "latest").err
    assert "no group 'typo'" in rdv("stream", "cursors", "s", "-g", "typo").err
    assert rdv("stream", "cursors", "s", "-g", "typo", "--delete").code == 3
    # A cursor may be set for a group that does not exist yet; then the topic must be named.
    assert "name the topic" in rdv("stream", "cursors", "s", "-g", "new", "--set", "latest").err
    assert rdv("stream", "cursors", "s:t", "-g", "new", "--set", "latest").code == 0


def test_groups_show_members_and_protect_them(rdv, ten):
    with open_stream("s") as stream, stream.consumer(["t"], group="g") as consumer:
        consumer.poll(max_records=3)
        consumer.commit()
        row = rdv("stream", "groups", "s", "--json").row()
        (member,) = row["members"]
        assert [(p["partition"], p["revoking"]) for p in member["partitions"]] == [
            (0, False),
            (1, False),
        ]
        assert member["lag"] == row["lag"]
        table = rdv("stream", "groups", "s").out
        assert table.splitlines()[1].split()[3] == "t/0,1"
        refused = rdv("stream", "cursors", "s", "-g", "g", "--set", "latest")
        assert (refused.code, "has 1 member" in refused.err) == (1, True)
        assert rdv("stream", "cursors", "s", "-g", "g", "--set", "latest", "--force").code == 0
        assert rdv("stream", "groups", "s", "-g", "g", "--delete", "--yes").code == 1
    assert rdv("stream", "groups", "s", "-g", "g", "--delete").code == 3
    assert rdv("stream", "groups", "s", "-g", "g", "--delete", "-y").out == "deleted group g\n"
    assert rdv("stream", "groups", "s").err == "no groups yet\n"


def test_groups_mark_what_is_being_revoked(rdv, ten):
    with (
        open_stream("s") as stream,
        stream.consumer(["t"], group="g") as first,
        stream.consumer(["t"], group="g"),
    ):
        # The first has not polled since the second joined: it still holds what it must release.
        out = rdv("stream", "groups", "s").out
        assert out.count("(revoking)") == 1
        assert len(first.assignment()) == 2


def test_bench_measures_and_leaves_nothing(rdv, tmp_path):
    rows = rdv(
        "stream", "bench", tmp_path, "--records", 2000, "--value-size", "50B", "--json"
    ).rows()
    assert [row["what"] for row in rows] == ["send", "send_many 100", "send_many 1000", "poll 500"]
    assert [row["records"] for row in rows] == [200, 2000, 2000, 4201]
    assert {path.name for path in tmp_path.iterdir()} == {".stdin"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("stream info nowhere", 3, "no stream at nowhere"),
        ("tail nowhere", 3, "rdv stream create nowhere"),
        ("stream append nowhere:t", 3, "no stream at nowhere"),
        ("stream info memory:x", 3, "inside one process"),
        ("stream info s:../x", 3, "not a topic name"),
        ("stream info s:missing", 3, "no topic 'missing'"),
        ("stream create s", 3, "there is a stream at s already"),
        ("stream create q --retention 7x", 2, "no unit 'x'"),
        ("stream create q --partitions 0", 3, "partitions: 0 is not between"),
        ("stream append s", 2, "s:TOPIC"),
        ("tail s -f --until 1h", 2, "--until"),
        ("tail s --since 1h --offset 3", 2, "--offset"),
        ("tail s:t -p 7", 3, "no partition 7"),
        ("tail s:t --offset 11", 3, "no offset 11"),
        ("stream bench nowhere", 3, "no directory nowhere"),
        ("stream create q --partitions many", 2, "'many' is not a whole number"),
        ("stream create q --fsync sometimes", 2, "not one of none, interval, always"),
        ("stream inf s", 2, "Did you mean 'info'?"),
        ("stream info", 2, "rdv stream info --help"),
        ("stream info s --nonsense", 2, "--nonsense"),
        ("stream", 2, "Usage: rdv stream"),
        ("", 2, "Usage: rdv"),
    ],
)
def test_mistakes_are_named_and_have_an_exit_code(rdv, stream, arguments, code, says):
    outcome = rdv(*arguments.split())
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert "Traceback" not in outcome.err


def commands(group: type[LazyGroup], prefix: tuple[str, ...] = ()):
    for name, lazy in group.table.items():
        loaded = lazy.load(name)
        if isinstance(loaded, LazyGroup):
            yield from commands(type(loaded), (*prefix, name))
        else:
            yield (*prefix, name), lazy, loaded


@pytest.mark.parametrize(
    ("path", "lazy", "command"), [pytest.param(*c, id=" ".join(c[0])) for c in commands(RootGroup)]
)
def test_every_command_is_documented(rdv, path, lazy, command):
    shown = rdv(*path, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert command.help.splitlines()[0] == lazy.help
    assert f"  Examples:\n    rdv {' '.join(path)}" in shown.out
    undocumented = [parameter.name for parameter in command.params if not parameter.help]
    assert undocumented == []


def test_help_lists_all_commands(rdv):
    shown = rdv("stream", "--help").out
    assert all(f"  {name} " in shown for name in StreamGroup.table)
    assert rdv("-h").out == rdv("--help").out
    native = "with" if NATIVE is not None else "without"
    assert rdv("--version").out == f"rdv {__version__} ({native} its C extension)\n"


def test_a_command_of_another_group_is_suggested(rdv, ten):
    done = rdv("stream", "tail", "s")
    assert done.code == 2
    assert "there is no rdv stream tail: it is rdv tail" in done.err


def test_an_address_has_one_colon(rdv, stream):
    done = rdv("stream", "append", "a:b:c", stdin=b"x\n")
    assert done.code == 3
    assert "no stream at a:b" in done.err
    assert "a:b:c is read as topic 'c' of the stream 'a:b'" in done.err
    # A stream of that name that exists is found.
    open_stream("a:b").close()
    assert rdv("stream", "append", "a:b:c", stdin=b"x\n").code == 0


def test_info_and_verify_say_which_size_they_show(rdv, ten):
    assert "ON DISK" in rdv("stream", "info", "s").out
    assert "VALUES" in rdv("stream", "verify", "s").out
    assert rdv("stream", "verify", "s", "--json").rows()[0]["values_bytes"] == 10
