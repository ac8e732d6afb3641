"""Check that each page is one self-contained file that shows the findings."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from ab_kit import experiment
from compare_kit import scored
from made_log import FAST, PRODUCTION, MadeLog, make_requests
from test_compare import steps

from rdv.analysis.ab import REST, Plan, run_experiment
from rdv.analysis.ab.view import ab_page
from rdv.analysis.charts import render
from rdv.analysis.compare.view import compare_page
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.optimise.study import optimise
from rdv.analysis.optimise.view import frontier, optimise_page
from rdv.analysis.promote.gate import judge
from rdv.analysis.promote.study import compare_newest, figures_of
from rdv.analysis.promote.view import promote_page
from rdv.analysis.whatif.study import what_if
from rdv.analysis.whatif.view import whatif_charts, whatif_page
from rdv.decision import Gate


class Balanced(HTMLParser):
    """Check that every tag is closed, in order."""

    VOID = frozenset({"meta", "line", "rect", "circle", "path", "polyline", "polygon"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check(page, *words):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "<svg" in page
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)
    assert "<script" not in page
    for word in words:
        assert word in page
    assert "nan" not in re.findall(r">([^<]*)<", page)


@pytest.fixture
def recorded(tmp_path):
    MadeLog(make_requests(600)).write(tmp_path)
    with Recorded(str(tmp_path)) as opened:
        yield opened


def test_whatif(recorded):
    found = what_if(recorded, FAST)
    check(whatif_page(found, "fraud"), FAST.label, "Answers by kind", "Model changes", "bounds")
    for chart in whatif_charts(found):
        assert "\x1b" not in render(chart)


def test_optimise(recorded):
    found = optimise(recorded, PRODUCTION, tries=100)
    check(optimise_page(found, "fraud"), "chosen", "compared with live")
    assert "Agreement against waiting" in render(frontier(found))


def test_compare_and_promote(tmp_path):
    scored(500, steps).write(tmp_path)
    with Recorded(str(tmp_path)) as opened:
        compared = compare_newest(opened, "gbm", "logit", canary="rules", window_ms=30)
    found = compared.found
    check(
        compare_page(found, "<b>fraud</b>"), "&lt;b&gt;fraud&lt;/b&gt;", "Quantiles of the scores"
    )
    gate = judge(figures_of(compared, Gate()), Gate())
    page = promote_page(gate, found, ["--- a", "+++ b", "-x", "+y"], "fraud")
    check(page, "Verdict of the gate: fail", "+y")
    assert "+++ b" not in page


def test_ab(tmp_path):
    plan = Plan({"fast": 0.5}, {REST: PRODUCTION, "fast": FAST})
    with Recorded(str(experiment(tmp_path, 800))) as opened:
        found = run_experiment(opened, plan)
    check(ab_page(found, "fraud"), "Cohorts", "By pairs")
