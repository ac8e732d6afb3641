"""Check that SVG and report are well-formed, self-contained and drawn at the right places."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.charts import (
    Axis,
    Chart,
    InvalidChart,
    Line,
    Mix,
    Points,
    Report,
    Rule,
    draw_chart,
    draw_mix,
)
from rdv.analysis.charts.markup import tag, text
from rdv.analysis.charts.page import ROWS_MAX, STYLE
from rdv.analysis.charts.svg.palette import DARK, LIGHT
from rdv.analysis.charts.svg.text import width
from rdv.analysis.statistics import wilson

quick = settings(derandomize=True, deadline=None, max_examples=80)

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</svg><script>alert('1')</script>&\"\x00\x1b[31m\ud800"


def draw(picture, number=1):
    return draw_mix(picture, number) if isinstance(picture, Mix) else draw_chart(picture, number)


class Page(HTMLParser):
    """Collect tags and check that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def full_report(pictures, name):
    report = Report(name, name)
    report.verdict("summary")
    report.heading(name)
    report.paragraphs([name])
    report.bullets([name])
    report.verdict(name, "bad")
    report.figures({name: name, "n": 5})
    report.table([name, "n"], [[name, 1], ["b", None]], name)
    for picture in pictures(name):
        report.chart(picture)
    report.heading(name)
    return report.html()


@pytest.mark.parametrize("name", ["gbm", NASTY, "a" * 500, ""])
def test_every_kind_is_well_formed_and_says_what_it_is(pictures, name):
    for picture in pictures(name):
        root = ET.fromstring(draw(picture))
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title").text == (text_of(picture.title) or None)
        assert root.get("role") == "img"
        assert not root.findall(f".//{SVG}script")
        for element in root.iter():
            for key, value in element.attrib.items():
                assert "nan" not in value or key in ("id", "class"), (key, value)


def text_of(value):
    return re.sub("[\x00\x1b\ud800]", "\ufffd", value)


@pytest.mark.parametrize("name", ["gbm", NASTY])
def test_a_report_is_one_file_without_scripts(pictures, name):
    html = full_report(pictures, name)
    page = parsed(html)
    assert "script" not in page.tags
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "onclick"} & {key for key, _ in page.attributes}
    assert "url(" not in html
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\"' ]+", html)) <= {"http://www.w3.org/2000/svg"}
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids)) == 2 * len(pictures(name)) + 2
    links = [value for key, value in page.attributes if key == "href"]
    assert [link.removeprefix("#") for link in links] == [i for i in ids if i.startswith("part-")]
    assert all(link.startswith("#part-") for link in links)
    assert len(links) == 2
    assert html.encode()
    assert any(text_of(name) in data for data in page.text)


@quick
@given(st.text(), st.text())
def test_nothing_can_break_out(value, attribute):
    made = tag("p", value, title=attribute)
    root = ET.fromstring(made)
    assert len(root) == 0
    assert set(root.attrib) == {"title"}
    made.encode()


def test_text_and_tags():
    assert text("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#x27;"
    assert tag("line", x1=1.005, y1=0, font_size=None, class_="a") == (
        '<line x1="1" y1="0" class="a"></line>'
    )
    assert "<" not in STYLE
    assert "&" not in STYLE


def test_a_line_is_drawn_at_its_values():
    chart = Chart(
        "t",
        Axis("x", low=0, high=10),
        Axis("y", low=0, high=1),
        (Line("a", np.array([0.0, 5.0, 10.0]), np.array([0.0, 0.5, 1.0])),),
    )
    root = ET.fromstring(draw_chart(chart))
    path = next(e.get("d") for e in root.iter(f"{SVG}path"))
    points = [tuple(map(float, p.split())) for p in re.split("[ML]", path)[1:]]
    assert points[1] == (
        pytest.approx((points[0][0] + points[2][0]) / 2, abs=0.1),
        pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.1),
    )
    assert points[0][0] < points[2][0]
    assert points[0][1] > points[2][1]  # higher values are drawn further up
    width, height = map(float, root.get("viewBox").split()[2:])
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    texts = [e.text for e in root.iter(f"{SVG}text")]
    assert {"x", "y", "0", "10", "1.0"} <= set(texts)


def test_a_gap_breaks_the_line_and_a_step_stays_level():
    x = np.arange(5.0)
    gap = Line("a", x, np.array([1, 2, np.nan, 4, 5]))
    chart = Chart("t", Axis("x"), Axis("y"), (gap,))
    path = next(e.get("d") for e in ET.fromstring(draw_chart(chart)).iter(f"{SVG}path"))
    assert (path.count("M"), path.count("L")) == (2, 2)
    step = Line("a", x, np.array([1.0, 1, 2, 2, 3]), stepped=True)
    chart = Chart("t", Axis("x"), Axis("y"), (step,))
    path = next(e.get("d") for e in ET.fromstring(draw_chart(chart)).iter(f"{SVG}path"))
    assert (path.count("M"), path.count("H"), path.count("V")) == (1, 4, 2)


def test_a_million_points_make_a_small_drawing():
    x = np.arange(1e6)
    y = np.random.default_rng(1).normal(size=1_000_000)
    chart = Chart("t", Axis("x"), Axis("y"), (Line("a", x, y), Points("b", x, y)))
    assert len(draw_chart(chart)) < 400_000


def test_series_differ_by_more_than_colour_and_are_named_once(pictures):
    chart = pictures()[5]
    root = ET.fromstring(draw_chart(chart))
    paths = [e for e in root.iter(f"{SVG}path") if e.get("class", "").startswith("s")]
    assert len({e.get("stroke-dasharray") for e in paths}) == len(paths) == 2
    assert len({e.get("class") for e in paths}) == 2
    names = [e.text for e in root.iter(f"{SVG}text")]
    assert {"gbm", "canary"} <= set(names)


def luminance(shade):
    parts = [int(shade[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_in_the_dark_every_colour_stands_out():
    paper = luminance("#14181d")
    for shade in DARK:
        assert (luminance(shade) + 0.05) / (paper + 0.05) > 4.5
    assert len(set(LIGHT)) == len(set(DARK)) == 8


def test_tables_line_numbers_up_and_are_cut_when_too_long():
    report = Report("t")
    report.table(["name", "n", "share"], [["a", n, wilson(1, 2)] for n in range(ROWS_MAX + 5)])
    html = report.html()
    assert html.count("<tr>") == ROWS_MAX + 1
    assert "The first 1,000 of 1,005 rows." in html
    assert html.count('<th scope="col" class="number">') == 2
    with pytest.raises(InvalidChart, match="2 values for 1 columns"):
        report.table(["a"], [[1, 2]])


def boxes(root):
    """Return (text, left, right) of each text, by the estimate of its width."""
    for one in root.iter(f"{SVG}text"):
        x, wide = float(one.get("x")), width(one.text)
        left = x - {"start": 0, "middle": wide / 2, "end": wide}[one.get("text-anchor")]
        yield one.text, left, left + wide


@pytest.mark.parametrize("name", ["gbm", "treatment", "long-cohort-name", "W" * 40, "模型" * 20])
def test_no_text_is_clipped(pictures, name):
    for picture in pictures(name):
        root = ET.fromstring(draw(picture))
        right = float(root.get("viewBox").split()[2])
        for text_, start, end in boxes(root):
            assert start >= 0, text_
            assert end <= right, text_


def test_a_text_that_is_cut_has_the_whole_of_it_as_its_title():
    mix = Mix("t", ("a", "b"), (("W" * 40, (1, 1)),))
    root = ET.fromstring(draw_mix(mix))
    cut = next(e for e in root.iter(f"{SVG}text") if (e.text or "").startswith("W"))
    assert cut.text.endswith("…")
    assert cut.find(f"{SVG}title").text == "W" * 40


def test_no_line_is_drawn_over_a_label():
    points = Points("a", np.array([1.0, 2.0]), np.zeros(2), labels=("one", "two"))
    rule = Rule("zero", 0.0, "y")
    root = ET.fromstring(draw_chart(Chart("t", Axis("x"), Axis("y"), (points, rule))))
    parts = list(root)
    line = max(n for n, e in enumerate(parts) if e.get("stroke-dasharray") == "3 3")
    at = float(parts[line].get("y1"))
    for n, part in enumerate(parts):
        if part.text in ("one", "two", "zero"):
            assert n > line
            assert not float(part.get("y")) - 10 < at < float(part.get("y")) + 3


def test_the_tone_shows_without_colour():
    report = Report("t")
    report.verdict("it holds", "good")
    report.verdict("it broke", "bad")
    text_seen = "".join(parsed(report.html()).text)
    assert "✓ it holds" in text_seen
    assert "✗ it broke" in text_seen
