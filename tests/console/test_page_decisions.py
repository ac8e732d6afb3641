"""Check the views of decisions: what is found, the facts of one, and what must not be seen."""

from __future__ import annotations

import html
import re

import msgspec
import pytest
from made_page import COUNT, HOSTILE, QUOTED, page_of, write_settings

import rdv
from rdv.analysis.explain.facts import Shown, explain_facts
from rdv.console.page.assets import asset
from rdv.console.page.hidden import HIDDEN, Hider, without_quotes
from rdv.console.page.parts import when
from rdv.console.page.shell import VIEWS


def ids(text):
    return list(dict.fromkeys(re.findall(r'href="/decisions/([0-9a-f]{32})"', text)))


def listed(page, query=""):
    answer = page.get(f"/decisions{query}")
    assert answer.status_code == 200, answer.text
    return ids(answer.text)


def test_the_newest_requests_come_first_and_all_can_be_paged_through(page, log):
    newest = [one.id for one in reversed(log.requests)]
    assert listed(page) == newest[:50]
    assert listed(page, "?before=50") == newest[50:100]
    assert listed(page, "?before=100") == newest[100:]


def test_defaults_and_keys_are_found(page, log):
    defaults = {one.id for one in log.requests if log.results[one.id].kind == "default"}
    assert set(listed(page, "?kind=default")) == defaults
    assert listed(page, "?q=user-9") == [log.requests[9].id]
    assert listed(page, "?q=user-9&kind=nonsense&before=x") == [log.requests[9].id]


def test_where_champion_and_challenger_disagree(page, log):
    answers = {}
    for one in log.requests:
        for _, score in one.reports:
            if isinstance(score.result, msgspec.Raw):
                answers[one.id, score.model] = bytes(score.result)
    for challenger in ("logit", "rules"):
        expected = {
            one.id
            for one in log.requests
            if (one.id, "gbm") in answers
            and (one.id, challenger) in answers
            and action(answers[one.id, "gbm"]) != action(answers[one.id, challenger])
        }
        found = listed(page, f"?disagree=1&challenger={challenger}")
        assert set(found) == set(found) & expected
        assert len(found) == min(50, len(expected))


def action(raw):
    return re.search(rb'"action":"(\w+)"', raw)[1]


def test_from_a_time_on_requests_come_in_order(page, log):
    at = when(log.requests[60].wall_ns).removesuffix(" UTC").replace(" ", "T") + "Z"
    assert listed(page, f"?at={at}") == [one.id for one in log.requests[60:110]]
    apart = listed(page, f"?at={at}&disagree=1&challenger=rules")
    assert set(apart) & {one.id for one in log.requests[60:]}
    assert "No request was recorded" in page.get("/decisions?at=2020-01-01").text
    wrong = page.get("/decisions?at=whenever")
    assert wrong.status_code == 400
    assert "is not a time" in wrong.text


@pytest.mark.parametrize("cut", [slice(None), slice(-8, None)])
def test_an_id_leads_to_its_request(page, log, cut):
    one = log.requests[COUNT - 1]
    answer = page.get("/decisions", params={"q": one.id[cut]})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/decisions/{one.id}")


@pytest.mark.parametrize("number", [0, 8, 50])
def test_one_decision_has_the_facts_of_explain(page, log, directory, number):
    found = rdv.open(str(directory)).explain(log.requests[number].id)
    text = page.get(f"/decisions/{log.requests[number].id}").text
    for name, value in explain_facts(found, Shown(when=when)):
        assert f"<td>{name}</td><td>{html.escape(value)}</td>" in text
    for step in found.steps:
        assert html.escape(step.ended) in text
    for report in found.reports:
        assert f"<td>{report.model}</td>" in text


def test_an_unknown_request_is_not_found(page):
    answer = page.get("/decisions/ffffffffffff")
    assert answer.status_code == 404
    assert "no request" in answer.text
    assert page.get("/decisions/ff").status_code == 400


@pytest.mark.parametrize(
    "path", ["/decisions/{}", "/decisions?q=" + HOSTILE, "/decisions?at=" + HOSTILE]
)
def test_hostile_text_is_only_text(page, log, path):
    text = page.get(path.format(log.requests[7].id)).text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("<script ") == 1
    assert html.escape("<img src=x onerror=alert(2)>") in text


def test_hidden_fields_are_nowhere(page, log):
    for path in (f"/decisions/{log.requests[7].id}", "/decisions?before=100"):
        text = page.get(path).text
        assert "4111-1111" not in text
        assert "Elm Street" not in text
        assert HIDDEN in text
    assert "4111-1111" not in page.get("/decisions?q=4111-1111").text.replace(
        'value="4111-1111"', ""
    )


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/decisions/{}",
        "/decisions?before=100",
        "/decisions?disagree=1&challenger=logit",
        "/records?stream=input&text={}",
        "/records?stream=scores&text={}",
        "/records?stream=results&text={}",
    ],
)
def test_answers_errors_and_keys_do_not_quote_what_is_hidden(page, log, path):
    id_ = log.requests[11].id
    text = page.get(path.format(id_)).text.replace(f'value="{id_}"', "")
    assert id_ in text
    assert QUOTED not in text
    assert HIDDEN in text


@pytest.mark.parametrize("stream", ["input", "scores", "results"])
def test_what_is_hidden_cannot_be_searched_for(page, log, stream):
    assert listed(page, f"?q={QUOTED}") == []
    found = page.get("/records", params={"stream": stream, "text": QUOTED[:6]}).text
    assert "No record was found" in found


@pytest.mark.parametrize(("text", "seen"), [("7", HIDDEN), ("at 7", "at 7"), ("", "")])
def test_a_short_hidden_value_is_not_shown_as_a_whole_text(text, seen):
    quoted = Hider(["card"]).quoted(b'{"card":[7,""]}')
    assert without_quotes(text, quoted) == seen


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a": 1.50}', '{"a":1.5}'),
        (b'{"card":1,"b":[{"card":2}]}', '{"card":"(hidden)","b":[{"card":"(hidden)"}]}'),
        (b'{"a":{"card":1},"a":{"b":2}}', '{"a":{"b":2}}'),
        (b'{"home":{"street":{"n":1},"b":2}}', '{"home":{"street":"(hidden)","b":2}}'),
        (b'{"street":1}', '{"street":1}'),
        (b"card 12", "(not shown: it is not JSON, and fields are hidden)"),
    ],
)  # fmt: skip
def test_fields_are_hidden_by_name_and_by_path(raw, text):
    assert Hider(["card", "home.street"]).json(raw) == text
    assert Hider([]).json(raw) == raw.decode()


def test_a_decision_without_requests_says_so(tmp_path):
    write_settings(tmp_path)
    with page_of(tmp_path) as page:
        for path in ("/decisions",):
            answer = page.get(path)
            assert answer.status_code == 200
            assert "Nothing is recorded yet" in answer.text


def test_every_page_forbids_what_it_does_not_need(page):
    for path in ("/decisions", "/decisions?at=whenever", "/decisions/ffffffffffff"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_page_needs_nothing_but_its_own_two_files(page):
    text = page.get("/decisions").text
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) >= {asset("page.css").path}
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text)
    size = len(text.encode())
    for name in ("page.css", "page.js"):
        found = page.get(asset(name).path)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]
        size += len(found.content)
    assert size < 150_000
    assert page.get("/assets/000000000000/page.css").status_code == 404
    assert page.get("/assets/x/page.py").status_code == 404


def test_the_navigation_marks_the_view(page):
    text = page.get("/decisions").text
    assert text.count("aria-current") == 1
    for view in VIEWS:
        assert f'href="{view.path}"' in text
