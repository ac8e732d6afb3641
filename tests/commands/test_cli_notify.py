"""Check webhooks against a real HTTP server: signed, in order, and never in the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

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
    return [event["kind"] for event in receiver.events(path)]


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
    wait_until(lambda: len(receiver.events("/flaky")) == 2)
    first, second = receiver.events("/flaky")
    assert first == second
    assert first["text"].startswith("*fraud* serve started: rdv serve")
    wait_until(lambda: max(receiver.seen.values()) == 2 and "/hangs" in str(receiver.calls))
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

    wait_until(find)
    return find()


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
