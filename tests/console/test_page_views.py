"""Check the views Now, Race, Models and Records, and the events that keep them up to date."""

from __future__ import annotations

import asyncio
import html
import re

import orjson
import pytest
from fake_clock import FakeClock
from made_log import MODELS, MadeLog, make_requests
from made_page import SETTINGS, console_of, page_of, write_settings

import rdv
from rdv.analysis.charts.markup import Markup
from rdv.console.console import Console
from rdv.console.page.errors import Busy
from rdv.console.page.latest import read_last
from rdv.console.page.respond import Threads
from rdv.console.page.shell import VIEWS
from rdv.console.page.streams import Broadcast, EventStream, Streams, as_event
from rdv.console.page.views.models import _models, agreement, worth_labelling
from rdv.console.page.views.now import Hour, _rules, now_report
from rdv.console.page.views.race import Race, race_part
from rdv.decision import load_decision
from rdv.stream import open_stream


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_opens_before_and_after_the_first_request(page, tmp_path, view):
    write_settings(tmp_path)
    with page_of(tmp_path) as empty:
        assert empty.get(view.path).status_code == 200
    answer = page.get(view.path)
    assert answer.status_code == 200
    assert f'<a href="{view.path}" aria-current="page">{view.name}</a>' in answer.text
    assert answer.text.count("<h1>") == 1


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_no_view_has_anything_that_is_hostile_or_hidden(page, view):
    for query in ("", "?stream=input", "?stream=scores", "?stream=input&text=street"):
        text = page.get(view.path + query).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "Elm Street" not in text
        assert not re.search(r"\son\w+=|\sstyle=|javascript:", re.sub(r"&lt;.*?&gt;", "", text))


@pytest.fixture
def told(tmp_path):
    """A decision whose last requests are a minute old, with events of its champion."""
    log = MadeLog(make_requests(200, gap_ms=50))
    log.write(tmp_path)
    write_settings(tmp_path)
    event = {
        "kind": "process_ended",
        "model": "gbm",
        "about": "gbm-0",
        "message": "gbm ended: KeyError 'amount' <b>",
    }
    promoted = {"kind": "promoted", "model": "logit", "message": "logit leads", "by": "rdv promote"}
    clock = FakeClock(log.requests[-1].wall_ns)
    path = str(tmp_path / "control")
    with open_stream(path, clock=clock) as stream, stream.producer() as producer:
        producer.send("events", orjson.dumps(event) + b"\n")
        stream.make_topic("commands")
        for number, one in enumerate((promoted, {"kind": "file_edited"})):
            clock.move_to(log.requests[-1].wall_ns + 10**9 + number)
            producer.send("commands", orjson.dumps(one) + b"\n")
        clock.move_to(log.requests[-1].wall_ns + 2 * 10**9)
        producer.send("events", orjson.dumps({"kind": "schedule_changed"}) + b"\n")
    clock.move_to(log.requests[-1].wall_ns + 30 * 10**9)
    console = console_of(tmp_path, clock)
    return log, console


def test_now_has_the_figures_of_the_log(told):
    log, console = told
    end_s = console.recent.buckets[-1].start_s + 5
    text = html.unescape(str(now_report(console, end_s).inner()))
    assert "Answers a second, by kind" in text
    assert sum(one.answers for one in console.recent.buckets) == len(log.requests)
    rows = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", text))
    kinds = [log.results[one.id].kind for one in log.requests]
    assert rows["preferred"] == f"{100 * kinds.count('preferred') / len(kinds):.1f} %"
    assert rows["SLA (ms)"] == "50"


def test_now_says_who_fails_and_why(told):
    _, console = told
    end_s = console.recent.buckets[-1].start_s + 5
    text = str(now_report(console, end_s).inner())
    assert "gbm" in text
    assert re.search(r"(gbm|logit|rules) (failed on|was behind on|said nothing on)", text)
    assert "KeyError &#x27;amount&#x27; &lt;b&gt;" in text


def test_now_has_promotions(told):
    _, console = told
    end_s = console.recent.buckets[-1].start_s + 5
    text = str(now_report(console, end_s).inner())
    assert "logit leads" in text
    assert "rdv promote" in text
    assert "file edited" not in text
    rules = _rules(Hour(console, end_s), 0, 2**40)
    assert "logit promoted" in [rule.name for rule in rules]


def test_what_happened_is_known_after_a_restart(told):
    _, console = told
    marks = list(console.recent.marks)
    assert len(marks) == 3
    for _ in range(2):
        saving = Console(
            console.directory, lambda: console.decision, saves=True, clock=console._clock
        )
        while saving.turn():
            pass
        saving.close()
        assert list(saving.recent.marks) == marks


def test_a_log_that_cannot_be_read_is_said_until_it_can_be_read(told, monkeypatch):
    _, console = told
    now_s, version = console.recent.buckets[-1].start_s + 5, console.version

    def fail():
        raise Busy

    with monkeypatch.context() as patch:
        patch.setattr(console.follower, "read", fail)
        console.turn()
    assert console.version > version
    assert "The console cannot read the log: too many" in now_report(console, now_s).inner()
    console.turn()
    assert "cannot read the log" not in now_report(console, now_s).inner()


def test_records_of_the_future_hold_nothing_up(told):
    _, console = told
    now_s = console.recent.buckets[-1].start_s + 5
    before = now_report(console, now_s).inner()
    console.recent._bucket(2 * now_s)
    assert now_report(console, now_s).inner() == before


def test_now_says_that_nothing_happens(told):
    _, console = told
    text = str(now_report(console, console.recent.buckets[-1].start_s + 500).inner())
    assert "No request was answered in the last minute" in text


def test_the_race_shows_who_wins(made, tmp_path):
    log, directory = made
    del tmp_path
    console = console_of(directory)
    race = Race(console)
    joined = read_last(load_decision(str(directory))).joined

    class Update:
        pass

    update = Update()
    update.joined = joined
    race.hear(update)
    text = str(race_part(console, race))
    wins = [log.results[one.id].model for one in log.requests]
    for model in MODELS:
        share = re.search(rf'<td>{model}</td><td class="number">([\d.]+) %</td>', text)[1]
        assert float(share) == pytest.approx(100 * wins.count(model) / len(wins), abs=0.06)


def test_models_agree_as_often_as_their_answers_are_equal(directory, log):
    last = read_last(load_decision(str(directory)))
    models = {one.name: one for one in _models(last)}
    said = {}
    for one in log.requests:
        for _, score in one.reports:
            if found := re.search(
                rb'"action":"(\w+)"', bytes(getattr(score, "result", b"") or b"")
            ):
                said[one.id, score.model] = found[1]
    both = [one.id for one in log.requests if {(one.id, "gbm"), (one.id, "rules")} <= said.keys()]
    same = sum(said[id_, "gbm"] == said[id_, "rules"] for id_ in both) / len(both)
    found = agreement(last, models["gbm"].values, models["rules"].values)
    assert found == pytest.approx(same)


def test_what_is_worth_labelling_divides_the_models_and_has_no_outcome(directory, log, page):
    last = read_last(load_decision(str(directory)))
    rows = worth_labelling(last, _models(last))
    ids = {last.joined.id(row) for row in rows.tolist()}
    assert ids
    assert not ids & {one.id for one in log.requests[::2]}
    text = page.get("/models").text
    assert all(id_ in text for id_ in ids)
    assert "<form" not in text


@pytest.fixture
def writable(tmp_path):
    log = MadeLog(make_requests(60))
    log.write(tmp_path)
    write_settings(tmp_path, SETTINGS + "allow_writes = true\n")
    rdv.open(str(tmp_path)).record_outcomes([(one.id, "pass") for one in log.requests[::2]])
    with page_of(tmp_path) as page:
        yield tmp_path, page, log


def test_an_outcome_is_told_where_that_is_allowed(writable, page):
    directory, client, log = writable
    id_ = log.requests[1].id
    text = client.get("/models").text
    assert 'action="/outcomes"' in text
    assert '<input name="outcome"' in text, "no outcome of another request, which may be hidden"
    answer = client.post("/outcomes", data={"id": id_, "outcome": '"block"'})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/decisions/{id_}")
    told = rdv.open(str(directory)).explain(id_).outcomes
    assert [bytes(one.truth.outcome) for one in told] == [b'"block"']
    for data, status in (
        ({"id": id_, "outcome": "block"}, 400),
        ({"id": "f" * 32, "outcome": "1"}, 400),
        ({}, 400),
    ):
        assert client.post("/outcomes", data=data).status_code == status
    refused = page.post("/outcomes", data={"id": id_, "outcome": "1"})
    assert refused.status_code == 403


def test_records_are_the_last_of_the_log(page, log):
    text = page.get("/records?stream=results").text
    offsets = [int(one) for one in re.findall(r'<td class="number">(\d+)</td><td><span', text)]
    assert offsets == list(range(len(log.requests) - 1, len(log.requests) - 101, -1))
    found = page.get(f"/records?stream=results&text={log.requests[3].id}").text
    assert html.unescape(found).count(f'"id":"{log.requests[3].id}"') == 1
    assert "No record was found" in page.get("/records?stream=results&until=2020-01-01").text
    assert page.get("/records?stream=nope").status_code == 400
    assert "on disk" in text


async def _first(events, count):
    found = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    await events.aclose()
    return found


def test_many_viewers_cost_one_computation():
    async def look():
        made, started, go = [], asyncio.Event(), asyncio.Event()

        def make():
            made.append(1)
            return Markup(f"<p>{len(made)}\nnew</p>")

        async def after():
            started.set()
            await go.wait()

        broadcast = Broadcast(Threads(), make, after)
        viewers = [asyncio.create_task(_first(broadcast.versions(), 2)) for _ in range(200)]
        await started.wait()
        assert len(made) == 1
        go.set()
        return await asyncio.gather(*viewers), broadcast

    found, broadcast = asyncio.run(look())
    assert found[0][0] == b"data: <p>1\ndata: new</p>\n\n"
    assert all(one[0] == found[0][0] for one in found)
    assert broadcast._task is None
    assert broadcast._viewers == 0


def test_a_view_that_fails_is_tried_again_and_said_once(monkeypatch, caplog):
    monkeypatch.setattr("rdv.console.page.streams.BUSY_S", 0.0)

    class BusyFirst(Threads):
        async def run(self, function):
            if not asked:
                asked.append(1)
                raise Busy
            return await super().run(function)

    asked, made = [], []

    def make():
        made.append(1)
        if len(made) < 4:
            raise ZeroDivisionError
        return Markup("well")

    async def look():
        broadcast = Broadcast(BusyFirst(), make, lambda: asyncio.sleep(0))
        return await _first(broadcast.versions(), 2)

    found = asyncio.run(look())
    assert b"cannot be computed" in found[0]
    assert found[1] == b"data: well\n\n"
    assert [record.message for record in caplog.records] == ["a view cannot be computed"]


def test_a_new_viewer_gets_no_old_version():
    made = []

    def make():
        made.append(1)
        return Markup(str(len(made)))

    async def look():
        broadcast = Broadcast(Threads(), make, asyncio.Event().wait)
        return [await _first(broadcast.versions(), 1) for _ in range(2)]

    assert asyncio.run(look()) == [[b"data: 1\n\n"], [b"data: 2\n\n"]]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_no_text_can_end_an_event(ends):
    event = as_event(f"a{ends}{ends}event: x{ends}data: y")
    assert event == b"data: a\ndata: \ndata: event: x\ndata: data: y\n\n"


def test_a_viewer_that_goes_or_does_not_read_is_dropped(monkeypatch):
    monkeypatch.setattr("rdv.console.page.streams.SEND_S", 0.01)

    async def look(receive, is_slow):
        streams, sent = Streams(1), []

        async def send(message):
            sent.append(message)
            if is_slow and message["type"] == "http.response.body":
                await asyncio.Event().wait()

        async def after():
            await asyncio.Event().wait()

        broadcast = Broadcast(Threads(), lambda: Markup("x"), after)
        stream = EventStream(streams, broadcast.versions())
        await stream({"type": "http"}, receive, send)
        assert streams.count == 0
        assert broadcast._task is None
        return sent

    async def gone():
        return {"type": "http.disconnect"}

    async def never():
        await asyncio.Event().wait()

    sent = asyncio.run(look(gone, False))
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert asyncio.run(look(never, True))


def test_there_are_so_many_streams_and_no_more(page, monkeypatch):
    monkeypatch.setattr(Streams, "is_full", property(lambda self: True))
    answer = page.get("/now/events")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
