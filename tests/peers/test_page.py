"""Look at the page of a running decision in a real Chromium."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from debian import debian_program
from playwright.sync_api import expect, sync_playwright
from ports import free_port
from running import MODELS, Load, write_decision
from waiting import DEADLINE_S, wait_until

import rdv
from rdv.analysis.charts import number, share
from rdv.console.page.shell import VIEWS
from rdv.stream import open_stream

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
WAIT_MS = 1000 * DEADLINE_S
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def program():
    """Return Chromium; Debian's package is installed where it is missing."""
    return debian_program("chromium")


class Served:
    """A decision that is being served, with its console."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.console = free_port()
        settings = f"[console]\nport = {self.console}\nallow_writes = true\n"
        self.port = write_decision(directory, more=settings)
        command = [sys.executable, "-m", "rdv", "serve", str(directory)]
        nothing = subprocess.DEVNULL
        environment = {**os.environ, "RDV_CONSOLE_ENABLED": "true"}
        self.process = subprocess.Popen(command, stdout=nothing, stderr=nothing, env=environment)
        self.url = f"http://127.0.0.1:{self.console}"
        try:
            wait_until(self._answers, "the console and the models do not answer")
        except AssertionError:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            ready = httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
            return ready and httpx.get(f"{self.url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    def pid(self, model: str) -> int:
        found: dict[str, int] = {}
        control = open_stream(str(self.directory / "control"), look=True)
        with control as stream, stream.consumer(["status"], start="earliest") as reader:
            while records := reader.poll(10_000):
                lines = [orjson.loads(record.value) for record in records]
                found |= {line["name"]: line["pid"] for line in lines}
        return found.get(model) or found[f"{model}-0"]

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    running = Served(tmp_path_factory.mktemp("page") / "fraud")
    try:
        with Load([running.port], clients=2) as load:
            load.until(lambda answer: answer["kind"] == "preferred", "an answer")
            load.until(lambda answer: len(load.answers) > 300, "many answers")
            yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def browser(program):
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


class Visit:
    """One visitor, who is let through to the page's own host only."""

    def __init__(self, browser, url: str, **context) -> None:
        self.url, self.foreign, self.complaints = url, [], []
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(WAIT_MS)
        self.context.route("**/*", self._pass)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _pass(self, route):
        if urlsplit(route.request.url).netloc == urlsplit(self.url).netloc:
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def open(self, path: str):
        self.page.goto(self.url + path, wait_until="load")
        return self.page

    def close(self) -> None:
        self.context.close()
        assert self.foreign == []
        assert self.complaints == []


@pytest.fixture
def visit(browser, served):
    made = []

    def make(**context):
        made.append(Visit(browser, served.url, **context))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_is_accessible_on_a_phone_and_on_a_desk(visit, view, scheme):
    width = 360 if scheme == "dark" else 1280
    visitor = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = visitor.open(view.path)
    expect(page.locator("h1")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_one_decision_is_found_and_explained(visit, served):
    visitor = visit(viewport={"width": 1280, "height": 800})
    page = visitor.open("/decisions")
    page.locator("table a.mono").first.click()
    expect(page.locator("h1")).to_contain_text("Request ")
    id_ = page.locator("h1").inner_text().removeprefix("Request ")
    found = rdv.open(str(served.directory)).explain(id_)
    expect(page.locator(".verdict")).to_contain_text(found.answer.kind)
    assert page.locator("svg circle").count() >= len(
        [r for r in found.reports if r.outcome == "result"]
    )
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_every_view_is_readable_without_javascript(visit):
    visitor = visit(java_script_enabled=False)
    for view in VIEWS:
        page = visitor.open(view.path)
        assert len(page.locator("main").inner_text()) > 100
    page = visitor.open("/whatif")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#figures")).to_contain_text("another model answers")


def test_a_step_is_dragged_and_the_figures_are_those_of_whatif(visit, served):
    visitor = visit(viewport={"width": 1280, "height": 1200})
    page = visitor.open("/whatif")
    handle = page.locator("[data-handle=until_1] rect").first
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = float(page.locator("#until_1").input_value())
    with page.expect_response(lambda answer: "full=1" in answer.url):
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 11):
            page.mouse.move(x - 28 * step, y)
        page.mouse.up()
    until_ms = float(page.locator("#until_1").input_value())
    assert 0 < until_ms < before
    # On a slow machine that may have been the answer for an earlier place.
    expect(page).to_have_url(re.compile(rf"until_1={until_ms:g}(&|$)"))
    expect(page.locator("#figures")).to_contain_text("Share answered by a model within the SLA")
    expect(page.locator("#figures-said")).to_have_text("The figures are up to date.")
    shown = page.locator("#figures dl div").all_inner_texts()
    figures = dict(one.replace("\N{NO-BREAK SPACE}", " ").split("\n", 1) for one in shown)
    source = page.content()
    file = html.unescape(
        re.search(r'aria-label="The file of the schedule"[^>]*>([^<]*)<', source)[1]
    )
    assert tomllib.loads(file)["step"][0].get("until_ms", until_ms) == until_ms
    span = re.search(r"--since (\S+) --until (\S+)", html.unescape(source))
    path = served.directory / "dragged.toml"
    path.write_text(file)
    found = rdv.open(str(served.directory)).whatif(str(path), span[1], span[2]).as_json()
    was, now = found["recorded"], found["what_if"]
    for name, key, show in (
        ("within the SLA", "sla_attainment", share),
        ("preferred", "preferred", share),
        ("default", "default", share),
        ("p50 (ms)", "p50_ms", number),
        ("p99 (ms)", "p99_ms", number),
    ):
        assert figures[name] == f"{show(was[key])} → {show(now[key])}"
    assert figures["another model answers"] == share(found["changed_model"])


def test_steps_move_by_the_keyboard(visit):
    page = visit(viewport={"width": 1280, "height": 1200}).open("/whatif")
    slider = page.locator("#until_1")
    before = float(slider.input_value())
    slider.focus()
    with page.expect_response(lambda answer: "/whatif/figures" in answer.url):
        slider.press("ArrowLeft")
    assert float(slider.input_value()) < before
    transform = page.locator("[data-handle=until_1]").get_attribute("transform")
    with page.expect_response(lambda answer: "/whatif/figures" in answer.url):
        slider.press("Home")
    assert page.locator("[data-handle=until_1]").get_attribute("transform") != transform
    button = page.get_by_role("button", name="gbm: prefer it less in step 2")
    with page.expect_response(lambda answer: "/whatif/figures" in answer.url):
        button.press("Enter")
    names = page.locator("[name=order_2]").evaluate_all("all => all.map(one => one.value)")
    assert names[:2] == ["mlp", "gbm"]


def test_a_schedule_is_saved_from_the_page(visit, served):
    page = visit(viewport={"width": 1280, "height": 1200}).open("/whatif?until_1=5")
    page.get_by_label("Save as").fill("from-the-page")
    page.get_by_role("button", name="Save this schedule").click()
    page.wait_for_url("**/whatif?schedule=from-the-page")
    saved = tomllib.loads((served.directory / "schedules" / "from-the-page.toml").read_text())
    assert saved["step"][0]["until_ms"] == 5


def test_the_champion_is_killed_and_the_page_says_so_by_itself(visit, served):
    page = visit(viewport={"width": 1280, "height": 1200}).open("/")
    state = page.locator("[data-live-state]")
    expect(state).to_have_text("live")
    # What has the focus is not taken away; the newest version is shown when it has gone.
    page.locator("#now [tabindex]").first.focus()
    expect(state).to_have_text("paused while you are in it")
    page.locator("a.brand").focus()
    expect(state).to_have_text("live")
    os.kill(served.pid("gbm"), signal.SIGKILL)
    expect(page.locator("#now")).to_contain_text("gbm")
    expect(page.locator("#now table").last).to_contain_text("process ended")
    expect(page.locator("#now table").last).to_contain_text("SIGKILL")


def test_the_race_moves_by_itself(visit):
    page = visit(viewport={"width": 1280, "height": 900}).open("/race")
    expect(page.locator("#race circle").first).to_be_visible(timeout=WAIT_MS)
    first = page.locator("#race svg").first.inner_html()
    page.wait_for_function(
        "first => document.querySelector('#race svg').innerHTML !== first", arg=first
    )
    for model in MODELS:
        expect(page.locator("#race")).to_contain_text(model)


def test_pages_forbid_scripts_of_others(served):
    policy = httpx.get(served.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
