"""Check the view What if: figures equal to those of `rdv whatif`, and what may be written."""

from __future__ import annotations

import asyncio
import html
import re
import tomllib

import pytest
from made_log import BEGIN_NS, FAST, QUORUM, MadeLog, make_requests, varied
from made_page import SETTINGS, page_of, write_settings
from starlette.requests import Request

import rdv
from rdv.analysis.charts import number, share
from rdv.analysis.whatif.held import HeldRequests
from rdv.console.page.errors import FormIncomplete
from rdv.console.page.forms import read_form
from rdv.console.page.latest import Latest, read_last
from rdv.console.page.parts import iso
from rdv.decision import load_decision
from rdv.rendezvous.schedule import schedule_from_object


def figures(page, query=""):
    answer = page.get(f"/whatif/figures{query}")
    assert answer.status_code == 200, answer.text
    text = html.unescape(answer.text).replace("\N{NO-BREAK SPACE}", " ")
    return dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", text))


def changed(until_ms, accept):
    steps = [{"until_ms": until_ms, "accept": accept}, {"until_ms": 45, "accept": ["gbm", "logit"]}]
    table = {"sla_ms": 50, "default": {"score": 0.0, "action": "review"}}
    return schedule_from_object({**table, "step": [*steps, {"accept": ["*"]}]}, "edited")


@pytest.mark.parametrize("until_ms", [0.5, 12, 44.5])
@pytest.mark.parametrize("accept", [["gbm"], ["rules", "gbm"]])
def test_the_figures_are_those_of_whatif(page, directory, until_ms, accept):
    query = f"?until_1={until_ms:g}" + "".join(f"&order_1={one}&accept_1={one}" for one in accept)
    shown = figures(page, query)
    found = rdv.open(str(directory)).whatif(changed(until_ms, accept)).as_json()
    was, now = found["recorded"], found["what_if"]
    for name, key, show in (
        ("within the SLA", "sla_attainment", share),
        ("preferred", "preferred", share),
        ("fallback", "fallback", share),
        ("default", "default", share),
        ("p50 (ms)", "p50_ms", number),
        ("p99 (ms)", "p99_ms", number),
        ("right answers", "accuracy", share),
    ):
        assert shown[name] == f"{show(was[key])} → {show(now[key])}"
    assert shown["another model answers"] == share(found["changed_model"])


@pytest.mark.parametrize("wanted", [FAST, QUORUM, changed(10, ["rules"])], ids=lambda s: s.name)
@pytest.mark.parametrize("kind", ["plain", "varied"])
def test_held_requests_give_what_the_study_gives(tmp_path, wanted, kind):
    log = MadeLog(make_requests(200, seed=5)) if kind == "plain" else varied(200)
    log.write(tmp_path)
    write_settings(tmp_path)
    decision = rdv.open(str(tmp_path))
    outcomes = [(one.id, "block" if one.number % 4 else "pass") for one in log.requests[::3]]
    decision.record_outcomes(outcomes)
    last = read_last(load_decision(str(tmp_path)))
    held = HeldRequests(last.joined, last.shelf, last.measure, last.outcomes)
    tried, found = held.try_schedule(wanted), decision.whatif(wanted)
    assert tried.new.as_json() == found.new.as_json()
    assert tried.recorded.as_json() == found.recorded.as_json()
    assert tried.changes == found.changes
    assert len(tried.changed) == found.changed_model
    assert (tried.compared, tried.changed_answer) == (found.compared, found.changed_answer)
    assert tried.metric == (found.metric.second.estimate, found.metric.first.estimate)


def test_the_live_schedule_changes_nothing(page):
    shown = figures(page)
    assert shown["another model answers"] == "0 %"
    assert shown["p99 (ms)"].split(" → ")[0] == shown["p99 (ms)"].split(" → ")[1]


def test_the_view_has_the_figures_the_sliders_and_the_commands(page):
    text = page.get("/whatif?until_1=20").text
    assert 'id="until_1" name="until_1"' in text
    assert 'value="20"' in text
    assert 'data-handle="until_1"' in text
    assert "another model answers" in text
    assert "rdv schedule use fraud production-edited" in text


def test_intervals_come_when_they_are_asked_for(page):
    said = "Share answered by a model within the SLA"
    assert said not in page.get("/whatif/figures?until_1=20").text
    assert said in page.get("/whatif/figures?until_1=20&full=1").text


def test_the_file_that_is_offered_is_the_schedule(page):
    text = html.unescape(page.get("/whatif?until_1=20").text)
    file = re.search(r'aria-label="The file of the schedule">([^<]*)<', text)[1]
    table = tomllib.loads(file)
    assert [step.get("until_ms") for step in table["step"]] == [20, 45, None]
    assert table["default"] == {"score": 0.0, "action": "review"}


def test_buttons_reorder_without_a_script(page):
    text = page.get(
        "/whatif?order_2=gbm&order_2=logit&accept_2=gbm&accept_2=logit&move=up:2:logit"
    ).text
    orders = re.findall(r'name="order_2" value="([^"]*)"', text)
    assert orders[:2] == ["logit", "gbm"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("until_1=x", "is not a number"),
        ("order_1=gbm", "no model is accepted"),
        ("until_1=48", "ends before the one before it"),
        ("until_1=-1", "until_ms"),
        ("until_1=nan", "until_ms"),
        ("schedule=nope", "nope"),
    ],
)
def test_what_is_no_schedule_is_said_and_not_computed(page, query, said):
    answer = page.get(f"/whatif?{query}")
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)


def test_saving_is_off_unless_it_is_allowed(page, directory):
    answer = page.post("/whatif/save", data={"name": "faster", "until_1": "20"})
    assert answer.status_code == 403
    assert "allow_writes" in answer.text
    assert not (directory / "schedules" / "faster.toml").exists()
    assert "Save this schedule" not in page.get("/whatif").text


@pytest.fixture
def writable(tmp_path):
    MadeLog(make_requests(30)).write(tmp_path)
    write_settings(tmp_path, SETTINGS + "allow_writes = true\n")
    with page_of(tmp_path) as page:
        yield tmp_path, page


def test_a_schedule_is_saved_where_that_is_allowed(writable):
    directory, page = writable
    assert "Save this schedule" in page.get("/whatif").text
    answer = page.post("/whatif/save", data={"name": "faster", "until_1": "20"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/whatif?schedule=faster")
    table = tomllib.loads((directory / "schedules" / "faster.toml").read_text())
    assert table["step"][0]["until_ms"] == 20
    again = page.post("/whatif/save", data={"name": "faster", "until_1": "10"})
    assert again.status_code in (400, 409)
    assert tomllib.loads((directory / "schedules" / "faster.toml").read_text()) == table


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "x" * 100, ".hidden"])
def test_a_name_that_is_no_file_is_refused(writable, name):
    directory, page = writable
    before = sorted(directory.rglob("*.toml"))
    assert page.post("/whatif/save", data={"name": name, "until_1": "20"}).status_code == 400
    assert sorted(directory.rglob("*.toml")) == before


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_of_another_site_writes_nothing(writable, headers):
    directory, page = writable
    answer = page.post("/whatif/save", data={"name": "faster", "until_1": "20"}, headers=headers)
    assert answer.status_code == 403
    assert not (directory / "schedules" / "faster.toml").exists()


def test_a_huge_form_is_refused(writable):
    _, page = writable
    assert page.post("/whatif/save", data={"name": "x" * 300_000}).status_code == 400


def test_a_form_that_does_not_arrive_is_given_up(monkeypatch):
    monkeypatch.setattr("rdv.console.page.forms.FORM_S", 0.01)

    async def never():
        await asyncio.Event().wait()

    request = Request({"type": "http", "method": "POST", "headers": []}, never)
    assert isinstance(asyncio.run(read_form(request)), FormIncomplete)


def test_two_people_may_look_at_two_incidents(directory, log):
    latest = Latest(lambda: load_decision(str(directory)))
    spans = [(log.requests[n].wall_ns, log.requests[n + 40].wall_ns) for n in (10, 60)]
    first = [latest.between(*span) for span in spans]
    assert [latest.between(*span).number for span in spans] == [one.number for one in first]
    assert first[0].held is first[0].held


def test_only_the_last_requests_are_held(directory):
    last = read_last(load_decision(str(directory)), requests_max=30)
    assert 0 < len(last) <= 30
    assert last.since_ns > BEGIN_NS


def test_an_incident_is_tried_by_its_own_span_of_time(page, directory, log):
    begin, end = (iso(log.requests[n].wall_ns) for n in (20, 80))
    text = html.unescape(page.get(f"/whatif?from={begin}&to={end}&until_1=12").text)
    assert "On 60 requests" in text
    assert f'name="from" value="{begin}"' in text
    shown = figures(page, f"?from={begin}&to={end}&until_1=12")
    found = rdv.open(str(directory)).whatif(changed(12, ["gbm"]), begin, end).as_json()
    was, now = found["recorded"], found["what_if"]
    assert shown["preferred"] == f"{share(was['preferred'])} → {share(now['preferred'])}"
    assert shown["p99 (ms)"] == f"{number(was['p99_ms'])} → {number(now['p99_ms'])}"
    assert page.get("/whatif?from=whenever").status_code == 400
    assert "Nothing is recorded" in page.get("/whatif?to=2020-01-01").text
