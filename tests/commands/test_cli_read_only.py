"""Looking creates nothing: reading commands leave every file as it was, and work for somebody who
may not write."""

from __future__ import annotations

import os
import signal

import pytest
from forking import Forker, User

from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

ANSWERED = (0, 1, 3, 99)
"""Exit codes of commands that have looked: 1 and 3 say that there is nothing yet to be seen."""


REBOOTED = "another boot id!"


def commands(id_):
    return [
        ("status", "fraud"),
        ("status", "fraud", "--json"),
        ("model", "ls", "fraud"),
        ("schedule", "ls", "fraud"),
        ("schedule", "show", "fraud"),
        ("schedule", "check", "fraud"),
        ("tail", "fraud/results"),
        ("tail", "fraud/control", "--json"),
        ("stream", "info", "fraud/input"),
        ("stream", "topics", "fraud/input"),
        ("stream", "verify", "fraud/input"),
        ("stream", "groups", "fraud/input"),
        ("stream", "cursors", "fraud/input"),
        ("explain", "fraud", id_),
        ("verify", "fraud"),
        ("whatif", "fraud", "--schedule", "fast-first"),
        ("compare", "fraud", "mlp", "logit"),
        ("ab", "fraud"),
        ("optimise", "fraud"),
        ("promote", "fraud", "logit", "--min-requests", "1"),
        ("replay", "fraud", "--model", "logit"),
        ("export", "fraud", "-o", "elsewhere"),
    ]


def tree(root):
    """Every file and folder with all that tells whether it was touched."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (".", *folders, *files):
            path = os.path.join(folder, name)
            at = os.lstat(path)
            found[path] = (at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    return found


def may_read(root):
    """Everybody may read, and only root write: without root, nobody may write."""
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o555)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)


def may_write(root):
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


@pytest.fixture(scope="module")
def forker():
    with Forker() as forker:
        yield forker


@pytest.fixture
def look(forker):
    """Run a command as a process that may read everything and write nothing."""

    def run(*arguments, boot=""):
        return forker.run(*arguments, user=User(drops=True), boot=boot)

    return run


def look_everywhere(look, id_, boot="", only=None):
    assert "no permission" in look("stream", "create", "fraud/made")[2]
    before = tree("fraud")
    for command in commands(id_):
        if only is not None and command[0] not in only:
            continue
        code, out, err = look(*command, boot=boot)
        assert code in ANSWERED, f"{command}: {code}\n{out}\n{err}"
        assert "Traceback" not in err, err
        assert "no permission" not in err, f"{command}: {err}"
        after = tree("fraud")
        changed = sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
        assert not changed, f"{command} has touched {changed}"


def test_a_new_decision_that_was_never_served(decision, look):
    may_read("fraud")
    try:
        look_everywhere(look, "nothing-yet")
    finally:
        may_write("fraud")


def test_a_decision_with_only_its_streams_can_be_read(decision, look):
    for name in ("input", "scores", "results", "control", "outcomes"):
        open_stream(f"fraud/{name}").close()
    may_read("fraud")
    try:
        look_everywhere(look, "nothing-yet")
        assert look("status", "fraud")[0] == 0
    finally:
        may_write("fraud")


def test_a_decision_that_was_served(rdv, serve, decision, look):
    served = serve()
    ids = [rdv("ask", "fraud", '{"amount": 1}', "--key", f"{n}").row()["id"] for n in range(5)]
    assert served.end() == 0
    may_read("fraud")
    try:
        look_everywhere(look, ids[0])
        code, out, err = look("explain", "fraud", ids[0])
        assert (code, ids[0] in out) == (0, True), err
        assert look("verify", "fraud")[0] == 0
    finally:
        may_write("fraud")


SERVE_WRITES = ("/.doorbells", "/.rdv", "/control/", "/.groups")
"""What a served decision writes by itself, without a request."""


def test_a_decision_while_it_is_served(rdv, serve, decision, look):
    """Looking makes and removes no file, and changes none that only requests change."""
    served = serve()
    ids = [rdv("ask", "fraud", '{"amount": 1}', "--key", f"{n}").row()["id"] for n in range(5)]
    before = tree("fraud")
    for command in commands(ids[0]):
        code, out, err = look(*command)
        assert code in ANSWERED, f"{command}: {code}\n{out}\n{err}"
        after = tree("fraud")
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        kept = [path for path in changed if not any(part in path for part in SERVE_WRITES)]
        assert not sorted(kept), f"{command} has touched {sorted(kept)}"
    assert served.end() == 0


def test_a_reader_follows_what_others_write_without_leaving_a_trace(tmp_path):
    path = str(tmp_path / "s")
    with open_stream(path) as stream, stream.producer() as producer:
        producer.send("t", b"1\n")
        before = tree(path)
        with open_stream(path, look=True) as looked, looked.consumer() as consumer:
            assert [r.value for r in consumer.poll(timeout=30)] == [b"1\n"]
            assert consumer.poll(timeout=0.05) == []
            assert tree(path) == before
            producer.send("t", b"2\n")
            assert [r.value for r in consumer.poll(timeout=30)] == [b"2\n"]
            producer.send("later", b"3\n")
            assert [r.value for r in consumer.poll(timeout=30)] == [b"3\n"]


def test_what_was_opened_for_looking_cannot_be_changed(tmp_path):
    path = str(tmp_path / "s")
    with open_stream(path) as stream:
        stream.make_topic("t")
    before = tree(path)
    with open_stream(path, look=True) as looked:
        with looked.producer() as producer, pytest.raises(Exception, match="looking only"):
            producer.send("t", b"1\n")
        with looked.consumer(["nothing"]) as consumer:
            assert consumer.poll() == []
        with pytest.raises(Exception, match="looking only"):
            looked.delete_topic("t")
    assert tree(path) == before


def test_a_decision_that_has_lost_power(rdv, serve, decision, look):
    """The files are of another boot, and were in use: looking recovers nothing."""
    served = serve()
    ids = [rdv("ask", "fraud", '{"amount": 1}', "--key", f"{n}").row()["id"] for n in range(5)]
    served.end(signal.SIGKILL)
    may_read("fraud")
    try:
        only = ("status", "tail", "explain", "verify", "export")
        look_everywhere(look, ids[0], boot=REBOOTED, only=only)
        code, out, err = look("explain", "fraud", ids[0], boot=REBOOTED)
        assert (code, ids[0] in out) == (0, True), err
    finally:
        may_write("fraud")
