"""Check webhooks against a real HTTP server: signed, in order, and never in the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from fake_clock import FakeClock
from waiting import DEADLINE_S, wait_until

from rdv.decision import load_decision
from rdv.decision.events import Event, encode_event, record_command
from rdv.notify.delivery import Delivery
from rdv.notify.message import headers_of, json_body, slack_body
from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(120)]

SECRET = "the secret of the two"


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; answers by the path: /ok, /refuses, /flaky (once in two), /hangs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, dict, bytes]] = []
        self.seen: Counter[str] = Counter()
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def events(self, path):
        return [json.loads(body) for where, _, body in list(self.calls) if where == path]

    def times(self, path):
        """Return how often the event that came most often was posted."""
        return max((n for key, n in list(self.seen.items()) if key.endswith(path)), default=0)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, dict(self.headers), body))
        self.server.seen[self.headers["X-Rdv-Delivery"] + self.path] += 1
        times = self.server.seen[self.headers["X-Rdv-Delivery"] + self.path]
        if self.path == "/hangs":
            self.server.released.wait(60)
        status = {"/refuses": 403, "/flaky": 200 if times > 1 else 503}.get(self.path, 204)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def configure(receiver, **hooks):
    port = receiver.server_address[1]
    text = ""
    for name, more in hooks.items():
        text += f'[notify.webhooks.{name}]\nurl = "http://127.0.0.1:{port}/{name}"\n{more}\n'
    path = Path("fraud/rdv.toml")
    path.write_text(f"{path.read_text()}\n{text}")


def kinds(receiver, path):
    """Return the kinds of the events in the order of their first calls: they may come again."""
    return list({event["id"]: event["kind"] for event in receiver.events(path)}.values())


def test_chosen_events_are_posted_signed_and_one_that_hangs_holds_nothing_up(
    receiver, serve, rdv, monkeypatch
):
    monkeypatch.setenv("HOOK_SECRET", SECRET + "\n")
    monkeypatch.setenv("HOOK_KEY", "key of the hook")
    configure(
        receiver,
        ok='kinds = ["serve_started", "process_ended"]\nsecret_from = "HOOK_SECRET"\n'
        'headers_from = { "X-Key" = "HOOK_KEY" }',
        flaky='kinds = ["serve_started"]\nformat = "slack"',
        refuses='kinds = ["serve_started", "process_ended"]',
        hangs="timeout_ms = 300\nattempts_max = 2",
        unset='secret_from = "NOWHERE"',
    )
    served = serve()
    os.kill(served.pid("logit-0"), signal.SIGKILL)
    wait_until(lambda: kinds(receiver, "/ok") == ["serve_started", "process_ended"])
    recorded = {row["id"]: row for row in rdv("events", "fraud", "--json").rows()}
    for path, headers, body in list(receiver.calls):
        if path == "/ok":
            event = json.loads(body)
            digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            assert headers["X-Hub-Signature-256"] == f"sha256={digest}"
            assert (headers["X-Key"], headers["X-Rdv-Event"]) == ("key of the hook", event["kind"])
            assert headers["X-Rdv-Delivery"] == event["id"]
            assert event.pop("decision") == "fraud"
            assert event == recorded[event["id"]]
    # A refusal is final, another failure is not.
    wait_until(lambda: kinds(receiver, "/refuses") == ["serve_started", "process_ended"])
    wait_until(lambda: len(receiver.events("/flaky")) >= 2)
    first, second, *_ = receiver.events("/flaky")
    assert first == second
    assert first["text"].startswith("*fraud* serve started: rdv serve")
    wait_until(lambda: receiver.times("/hangs") >= 2)
    assert served.end() == 0
    said = "\n".join(served.lines)
    assert "webhook refuses" in said
    assert "HTTP status 403 [notify_failed]" in said
    assert "webhook unset: environment variable NOWHERE is not set" in said


def test_after_a_kill_it_goes_on_where_it_was(receiver, serve):
    configure(receiver, ok='kinds = ["serve_started", "serve_stopped", "process_ended"]')
    served = serve()
    wait_until(lambda: kinds(receiver, "/ok") == ["serve_started"])
    for count in range(2, 4):
        (process,) = notifiers(served)
        process.kill()
        # Its own end is an event as well, which the next process sends.
        wait_until(lambda count=count: len(sent(receiver)) >= count)
    assert served.end() == 0
    served = serve()
    wait_until(lambda: len(sent(receiver)) == 5)
    ends = [one for one in receiver.events("/ok") if one["kind"] == "process_ended"]
    assert {(one["about"], one["signal"]) for one in ends} == {("notify", "SIGKILL")}
    # What is promised is at least once; the repeats have the same id.
    assert Counter(sent(receiver).values()) == Counter(
        ["serve_started", "process_ended", "process_ended", "serve_stopped", "serve_started"]
    )
    ids = [event["id"] for event in receiver.events("/ok")]
    assert list(dict.fromkeys(ids)) == sorted(set(ids), key=lambda one: int(one.split("-")[1]))
    served.end()


def sent(receiver):
    """Return the kinds of the events that were received, by their ids."""
    return {event["id"]: event["kind"] for event in receiver.events("/ok")}


def notifiers(served):
    def find():
        children = psutil.Process(served.process.pid).children(recursive=True)
        found = []
        for child in children:
            try:
                if "component notify" in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    return wait_until(find)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('url = "ftp://x.example"', "is no address like"),
        ('kinds = ["process_ended"]', "needs url or url_from"),
        ('url = "http://x.example"\nkinds = ["nonsense"]', "nonsense"),
        ('url = "http://x.example"\nurl_from = "X"', "needs url or url_from"),
    ],
    ids=["scheme", "no url", "kind", "two urls"],
)
def test_a_webhook_that_cannot_be_used_is_refused(rdv, decision, text, says):
    path = Path("fraud/rdv.toml")
    path.write_text(f"{path.read_text()}\n[notify.webhooks.one]\n{text}\n")
    found = rdv("schedule", "ls", "fraud")
    assert found.code == 3
    assert "notify.webhooks" in found.err
    assert says in found.err


def delivery_of(text, environ):
    path = Path("fraud/rdv.toml")
    path.write_text(f"{path.read_text()}\n[notify.webhooks.one]\n{text}\n")
    decision = load_decision("fraud")
    return Delivery(decision, "one", decision.notify.webhooks["one"], environ)


LOCAL = 'url = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize(
    ("text", "value", "says"),
    [
        ('url_from = "HOOK"', "http://hooks.example:s3cret/x", "variable HOOK is no address"),
        ('url_from = "HOOK"', "hooks.example/s3cret", "variable HOOK is no address"),
        (f'{LOCAL}headers_from = {{ "X-Key" = "HOOK" }}', "a\x01s3cret", "variable HOOK has"),
        (f'{LOCAL}headers_from = {{ "X-Key" = "HOOK" }}', "\xe9s3cret", "variable HOOK has"),
        (f'{LOCAL}headers_from = {{ "X Key" = "HOOK" }}', "s3cret", "'X Key' is no name"),
    ],
    ids=["port", "no scheme", "control character", "umlaut", "name"],
)
def test_a_secret_that_cannot_be_sent_is_named_and_not_shown(decision, caplog, text, value, says):
    delivery = delivery_of(text, {"HOOK": value})
    delivery.start()
    delivery.stop(DEADLINE_S)
    assert says in caplog.text
    assert "s3cret" not in caplog.text


def test_a_topic_without_a_saved_position_is_not_read_from_its_beginning(
    receiver, decision, caplog
):
    old_ns = time.time_ns() - 2 * 3_600 * 10**9
    with open_stream("fraud/control", clock=FakeClock(old_ns)) as stream:
        stream.make_topic("commands", 1)
        with stream.producer() as producer:
            producer.send("commands", encode_event(Event(kind="file_edited", time_ns=old_ns)))
    saved = Path("fraud/.rdv/notify/one.json")
    saved.parent.mkdir(parents=True)
    saved.write_text('{"events": 0}')
    delivery = delivery_of(f'url = "http://127.0.0.1:{receiver.server_address[1]}/ok"', {})
    record_command("fraud", Event(kind="file_edited", about="new"))
    delivery.start()
    wait_until(lambda: receiver.events("/ok"))
    delivery.stop(DEADLINE_S)
    assert {event["about"] for event in receiver.events("/ok")} == {"new"}
    assert "too old" not in caplog.text


BROKEN = """
import sys
from rdv.notify import delivery, main
delivery.EventReader = None
main.run_notify(sys.argv[1])
"""


def test_a_thread_that_ends_by_an_error_ends_the_process(receiver, decision):
    configure(receiver, ok="")
    command = [sys.executable, "-c", BROKEN, "fraud"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert (done.returncode, "TypeError" in done.stderr) == (1, True)


def test_a_message_mentions_none_and_takes_names_that_are_not_utf8():
    said = "@channel: ask @bob or x@all of production@1a2b"
    event = Event(kind="process_ended", message="gbm-0 ended", last_line=said)
    text = json.loads(slack_body("fr\udcff", event))["text"]
    shown = "@\u200bchannel: ask @\u200bbob or x@\u200ball of production@1a2b"
    assert text == f"*fr\\udcff* process ended: gbm-0 ended: {shown}"
    assert json.loads(json_body("fr\udcff", event))["decision"] == "fr\\udcff"
    assert headers_of(event, b"", "\udcff")["X-Hub-Signature-256"].startswith("sha256=")
