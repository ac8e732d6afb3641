"""Check that `rdv events` tells what happened to a decision that is really served."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from fake_clock import START_NS, FakeClock
from waiting import wait_until

from rdv.decision.events import Event, EventReader, encode_event, record_command
from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(90)]

MODEL = """
version = "1"

def predict(rows):
    return [{"score": 0.5} for row in rows]
"""


def replace(path: Path, text: str) -> None:
    """Replace a file at once: a watcher may see one that is written in place while it is empty."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.rename(path)


@pytest.fixture
def tell(rdv):
    """Return the events of the decision, of some kinds."""

    def tell(*kinds: str, about: str = "") -> list[dict]:
        options = [word for kind in kinds for word in ("--kind", kind)]
        rows = rdv("events", "fraud", "--json", *options).rows()
        return [row for row in rows if about in row.get("about", "")]

    return tell


def test_a_decision_tells_who_changed_what_and_why_a_process_ended(rdv, serve, start, tell):
    served = serve()
    (started,) = wait_until(lambda: tell("serve_started"))
    assert started["by"].startswith("rdv serve fraud")
    assert started["pid"] == served.process.pid

    # A process that is killed, and one that ends with an error.
    killed = served.pid("logit-0")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: tell("process_back", about="logit-0"))
    (ended,) = tell("process_ended", about="logit-0")
    assert (ended["signal"], ended["pid"], ended["model"]) == ("SIGKILL", killed, "logit")
    assert "exit_code" not in ended

    # A command changes the live schedule: the supervisor names it.
    before = rdv("schedule", "ls", "fraud", "--json").rows()
    names = {row["schedule"]: row["hash"] for row in before}
    assert rdv("schedule", "use", "fraud", "fast-first").code == 0
    wait_until(lambda: tell("schedule_changed"))
    (changed,) = tell("schedule_changed")
    assert changed["by"] == "rdv schedule use fraud fast-first"
    assert changed["user"]
    assert changed["before"] == f"production@{names['production']}"
    assert changed["after"] == f"fast-first@{names['fast-first']}"
    (edited,) = wait_until(lambda: tell("file_edited"))
    assert edited["by"] == changed["by"]
    assert edited["before"] != edited["after"]

    # An edit by hand has no command; one that cannot be used says why.
    file = Path("fraud/rdv.toml")
    good = file.read_text()
    replace(file, good.replace("[http]", "[http]\nrows_max = 7", 1))
    wait_until(lambda: tell("settings_changed"))
    (changed,) = tell("settings_changed")
    assert "http.rows_max 100 → 7" in changed["message"]
    assert changed["by"] == "an edit"
    replace(file, good.replace("[http]", "[http]\nrows_max = -1", 1))
    wait_until(lambda: tell("settings_refused"))
    (refused,) = tell("settings_refused")
    assert refused["code"] == "invalid_decision"
    assert "rows_max" in refused["message"]
    replace(file, good)
    schedule = Path("fraud/schedules/fast-first.toml")
    text = schedule.read_text()
    replace(schedule, "sla_ms = 'none'")
    wait_until(lambda: tell("schedule_refused"))
    replace(schedule, text)

    # Models come and go.
    Path("fraud/models/extra.py").write_text(MODEL)
    added = rdv("model", "add", "fraud", "extra", "--path", "models/extra.py")
    assert added.code == 0, added.err
    wait_until(lambda: tell("model_added"))
    (found,) = tell("model_added")
    assert found["by"].startswith("rdv model add fraud extra")
    served.until("extra-0 is ready")
    replace(Path("fraud/models/extra.py"), "import nothing_of_this_name\n")
    wait_until(lambda: tell("model_not_loaded", about="extra-0"))
    found = tell("model_not_loaded", about="extra-0")[0]
    assert "nothing_of_this_name" in found["last_line"]
    assert found["code"] == "successor_not_ready"
    text = file.read_text()
    replace(file, text.replace("[models.extra]", "[models.extra]\nretired = true"))
    wait_until(lambda: tell("model_paused"))
    assert rdv("model", "rm", "fraud", "extra").code == 0
    wait_until(lambda: tell("model_removed"))
    (found,) = tell("model_removed")
    assert found["by"] == "rdv model rm fraud extra"

    # The time line follows, survives the end, and tells what was edited meanwhile.
    follower = start("events", "fraud", "-f", "--kind", "serve_started", "--kind", "serve_stopped")
    assert json.loads(follower.stdout.readline())["kind"] == "serve_started"
    assert served.end() == 0
    stopped = json.loads(follower.stdout.readline())
    assert (stopped["kind"], stopped["signal"]) == ("serve_stopped", "SIGTERM")
    assert rdv("schedule", "use", "fraud", "production").code == 0
    assert tell("file_edited")[-1]["by"] == "rdv schedule use fraud production"
    times = [row["time_ns"] for row in tell()]
    assert times == sorted(times)
    assert len({row["id"] for row in tell()}) == len(times)
    serve()
    wait_until(lambda: len(tell("schedule_changed")) == 2)
    (_, changed) = tell("schedule_changed")
    assert changed["by"] == "rdv schedule use fraud production"
    assert "while it was not served" in changed["message"]


def test_a_decision_that_was_never_served_has_no_events(rdv, decision):
    found = rdv("events", "fraud")
    assert (found.code, found.out) == (3, "")
    assert "has never been served" in found.err
    assert rdv("events", "nowhere").code == 3
    wrong = rdv("events", "fraud", "--kind", "nonsense")
    assert wrong.code == 2
    assert "process_ended" in wrong.err


def test_the_status_says_in_words_why_a_model_keeps_ending(rdv, serve, start):
    command = f'command = ["{sys.executable}", "-c", "raise KeyError(\'amount\')"]'
    file = Path("fraud/rdv.toml")
    file.write_text(f"{file.read_text()}\n[models.extra]\n{command}\n")
    serve(wait=False).until("listening on")
    watcher = start("status", "fraud", "--watch", "--json")
    for line in watcher.stdout:
        report = json.loads(line)
        assert len(report["trend"]["rates"]) == 60
        if any(text.endswith("KeyError: 'amount'") for text in report["why"]):
            break
    shown = rdv("status", "fraud").out
    assert "why       extra-0 " in shown


def test_events_of_both_topics_are_in_the_order_of_their_times(tmp_path):
    second, clock = 10**9, FakeClock()
    recorded = [("events", 0, 0), ("events", 2, 2), ("commands", 1, 3), ("events", 30, 30)]
    with open_stream(str(tmp_path / "control"), clock=clock) as stream:
        stream.make_topic("events", 1)
        stream.make_topic("commands", 1)
        with stream.producer() as producer:
            for topic, at_s, recorded_s in recorded:
                clock.move_to(START_NS + recorded_s * second)
                event = Event(kind="trouble", time_ns=START_NS + at_s * second)
                producer.send(topic, encode_event(event))
    with EventReader(str(tmp_path)) as reader:
        found = [(event.time_ns - START_NS) // second for event in reader.past()]
    assert found == [0, 1, 2, 30]


def test_names_that_are_not_utf8_are_recorded_with_their_bytes_escaped(tmp_path, monkeypatch):
    directory = str(tmp_path / os.fsdecode(b"fr\xffud"))
    os.mkdir(directory)
    open_stream(os.path.join(directory, "control")).close()
    words = ("rdv", "schedule", "use", directory)
    monkeypatch.setattr("rdv.system.command_line._words", words)
    record_command(directory, Event(kind="file_edited", about=directory))
    with EventReader(directory) as reader:
        (event,) = reader.past()
    assert "fr\\udcffud" in event.by
    assert event.about.endswith("fr\\udcffud")
