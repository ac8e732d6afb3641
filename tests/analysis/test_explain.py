"""Check `explain`: the story of one request."""

from __future__ import annotations

import msgspec
import pytest
from made_log import MadeLog, MadeRequest, make_requests, make_score

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import AmbiguousId, IdTooShort, RequestNotFound
from rdv.analysis.explain import explain, find_request
from rdv.rendezvous.messages import Truth, encode_truth
from rdv.stream import open_stream


@pytest.fixture
def recorded(tmp_path):
    def report(number, model, at_ms, **said):
        return at_ms, make_score(MadeRequest(number, 0, []).id, model, **said)

    requests = make_requests(40)
    requests[7].reports = [
        report(7, "gbm", 12.5, refusal="behind", detail="30.0 ms late"),
        report(7, "rules", 1.25),
        report(7, "logit", 33.0),
    ]
    requests[8].reports = []
    MadeLog(requests).write(tmp_path)
    with Recorded(str(tmp_path)) as recorded:
        yield recorded


def test_each_step_and_each_models_report_are_explained(recorded):
    story = explain(recorded, find_request(recorded, "000007"))
    assert [(r.model, r.outcome, r.is_late, r.is_chosen) for r in story.reports] == [
        ("rules", "result", False, False),
        ("gbm", "behind", False, False),
        ("logit", "result", False, True),
    ]
    assert [(s.begin_ms, s.end_ms, s.eligible, s.ended) for s in story.steps] == [
        (0.0, 12.5, (), "no model is left to wait for"),
        (12.5, 33.0, ("logit",), "logit has answered"),
    ]
    assert story.reports[1].detail == "30.0 ms late"
    assert story.as_json()["result"]["model"] == "logit"
    assert bytes(story.as_json()["request"]["data"]) == b'{"n":7}'


def test_a_request_that_no_model_answered_is_explained(recorded):
    story = explain(recorded, find_request(recorded, "000008"))
    assert story.answer.kind == "default"
    assert [step.ended for step in story.steps] == ["its time was over"] * 3
    assert [report.outcome for report in story.reports] == [None] * 3


def test_late_scores_are_explained(recorded):
    stories = [explain(recorded, find_request(recorded, f"{n:06x}")) for n in range(40)]
    late = [report for story in stories for report in story.reports if report.is_late]
    assert late
    for story in stories:
        for report in story.reports:
            if report.is_late:
                assert report.arrived_ms >= story.result.waited_ms
                assert not report.is_chosen


def test_ids_that_are_not_there_or_not_enough(recorded):
    with pytest.raises(RequestNotFound, match="the log goes back to 17"):
        find_request(recorded, "ffffff")
    with pytest.raises(IdTooShort):
        find_request(recorded, "3031")
    with pytest.raises(AmbiguousId, match="several requests begin with '303132'"):
        find_request(recorded, "303132")
    whole = MadeRequest(9, 0, []).id
    assert find_request(recorded, whole).request.id == whole


def test_the_source_of_an_outcome_is_shown_and_old_records_are_read(tmp_path):
    MadeLog(make_requests(3)).write(tmp_path)
    id_ = MadeRequest(1, 0, []).id
    old = b'{"v":1,"id":"%s","outcome":"fraud","time_ns":5}\n' % id_.encode()
    new = encode_truth(Truth(id_, msgspec.Raw(b'{"label":"ok"}'), 6, "10.0.0.7"))
    other = encode_truth(Truth("f" * 32, msgspec.Raw(b"1"), 7, "10.0.0.8"))
    with open_stream(str(tmp_path / "outcomes")) as stream, stream.producer() as producer:
        producer.send_many("p-1", [new, other], partition=0)
        producer.send_many("cli", [old], partition=0)
    with Recorded(str(tmp_path)) as recorded:
        story = explain(recorded, find_request(recorded, id_))
    told = story.as_json()["outcomes"]
    assert [(bytes(one["outcome"]), one["time_ns"], one["source"]) for one in told] == [
        (b'"fraud"', 5, None),
        (b'{"label":"ok"}', 6, "10.0.0.7"),
    ]
