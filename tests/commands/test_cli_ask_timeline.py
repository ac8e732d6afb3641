from __future__ import annotations

import pytest

from rdv.analysis.explain.timeline import ASCII, draw_arrivals
from rdv.commands.ask import make_body
from rdv.commands.errors import InvalidOption, NotJson
from rdv.commands.options import schedule_of_request
from rdv.decision.proxies import refusal


def test_the_timeline_shows_each_model_and_the_deadline():
    answer = {
        "kind": "fallback",
        "model": "logit",
        "waited_ms": 30.1,
        "trace": [
            {"model": "logit", "arrived_ms": 10.0, "outcome": "result"},
            {"model": "gbm", "arrived_ms": 20.0, "outcome": "behind"},
        ],
    }
    lines = draw_arrivals(answer, 50.0, 79, ASCII)
    assert all(len(line) <= 79 for line in lines)
    assert lines[0].rstrip().endswith("50 SLA")
    # The positions of the marks are to scale.
    start = lines[1].index("-")
    first, second = lines[1].index("o", start) - start, lines[2].index("x") - start
    assert second == pytest.approx(2 * first, abs=1)


def test_the_timeline_without_an_answer_or_a_known_sla():
    answer = {"kind": "default", "model": None, "waited_ms": 53.0, "trace": []}
    lines = draw_arrivals(answer, None, 60, ASCII)
    assert "no model had reported" in lines[1]
    assert lines[2].endswith("53.00 ms  default")


def test_what_is_quick_is_shown_large():
    report = {"model": "gbm", "arrived_ms": 0.5, "outcome": "result"}
    answer = {"kind": "preferred", "model": "gbm", "waited_ms": 0.6, "trace": [report]}
    assert "(SLA 50)" in draw_arrivals(answer, 50.0)[0]


@pytest.mark.parametrize("sla_ms", [7.0, 50.0, 400.0, 12_345.0, None])
@pytest.mark.parametrize("width", range(40, 100))
def test_labels_never_run_into_each_other(sla_ms, width):
    """Labels once overlapped: 9.375 and the end of 12.5 were read as 912.5."""
    answer = {"waited_ms": 1.436, "kind": "preferred", "model": "mlp", "trace": []}
    axis = draw_arrivals(answer, sla_ms, width)[0].replace("ms", "").partition("(")[0]
    shown = [float(word) for word in axis.replace("SLA", "").split()]
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert shown[-1] <= max(sla_ms or 0, 1.58)


def test_bodies():
    assert make_body({"a": 1}) == b'{"data":{"a":1}}'
    body = make_body(1, key="k", schedule="fast", deadline="1500us", trace=True)
    assert body == b'{"data":1,"key":"k","schedule":"fast","deadline_ms":1.5,"trace":true}'
    with pytest.raises(InvalidOption):
        make_body(1, deadline="0")


def test_schedules_by_name_object_and_file(tmp_path):
    assert schedule_of_request("fast") == "fast"
    assert schedule_of_request('{"sla_ms": 5}') == {"sla_ms": 5}
    with pytest.raises(NotJson):
        schedule_of_request("{")
    file = tmp_path / "s.toml"
    file.write_text("sla_ms = 5\n[[step]]\naccept = ['*']\n")
    assert schedule_of_request(f"@{file}") == {"sla_ms": 5.0, "step": [{"accept": ["*"]}]}
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(NotJson):
        schedule_of_request(f"@{tmp_path}/s.json")


def test_refusals_in_the_words_of_the_proxy():
    said = refusal(422, b'{"error": {"code": "unknown_schedule", "message": "no such"}}')
    assert said.text() == "refused with 422 unknown_schedule: no such"
    assert refusal(502, b"<html>").message == "<html>"
