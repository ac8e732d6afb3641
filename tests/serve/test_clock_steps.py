"""Check that steps of the wall clock change no decision and make no duration negative."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import stepped
from running import MODELS, Decision, Load, write_decision

HOUR_S, YEAR_S = 3600, 365 * 24 * 3600
LAUNCHER = [sys.executable, stepped.__file__]


class SteppedDecision(Decision):
    """Run a decision in which each process has its own wall clock."""

    def clock(self, name: str) -> Path:
        return self.directory.parent / f"{name}.clock"

    def step(self, seconds: int, *names: str) -> None:
        for name in names:
            stepped.write_step(self.clock(name), seconds)

    def command(self, name: str, arguments: list[str]) -> list[str]:
        if not self.clock(name).exists():
            self.step(0, name)
        return [*LAUNCHER, str(self.clock(name)), *arguments]

    def status(self, seconds: int) -> tuple[dict, str]:
        """Return the output of `rdv status` with such a clock: the JSON, and the text."""
        self.step(seconds, "status")
        said = [
            subprocess.run(
                self.command("status", ["status", str(self.directory), *more]),
                stdout=subprocess.PIPE,
                check=False,
                text=True,
                timeout=120,
            ).stdout
            for more in (["--json"], [])
        ]
        return orjson.loads(said[0]), said[1]


def negative(thing: object, path: str = "") -> list[str]:
    """List the paths and values of all negative numbers."""
    if isinstance(thing, dict):
        return [p for key, value in thing.items() for p in negative(value, f"{path}.{key}")]
    if isinstance(thing, list):
        return [p for n, value in enumerate(thing) for p in negative(value, f"{path}[{n}]")]
    is_number = isinstance(thing, int | float) and not isinstance(thing, bool)
    return [f"{path} = {thing}"] if is_number and thing < 0 else []


@pytest.fixture
def decision(tmp_path):
    decision = SteppedDecision(tmp_path / "fraud", write_decision(tmp_path / "fraud"))
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()  # this checks all recorded decisions


STEPS = {
    "an hour back": [-HOUR_S],
    "an hour ahead and back": [HOUR_S, 0],
    "a year ahead": [YEAR_S],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_the_machines_clock_is_stepped_while_server_and_worker_restart(decision, steps):
    everybody = ("server", *MODELS, "proxy-0")
    with Load([decision.port]) as load:
        load.more()
        for seconds in steps:
            decision.kill("server", "gbm")
            decision.step(seconds, *everybody)
            decision.restart("server", "gbm")
            load.until(lambda answer: answer["kind"] == "preferred", "preferred")
            load.more()
    load.check(decision)
    for clock in (steps[-1], 0, -HOUR_S):
        report, text = decision.status(clock)
        assert negative(report) == []
        assert re.findall(r"(?<![\w-])-\d\S*", text) == []


def test_each_process_has_another_clock(decision):
    with Load([decision.port]) as load:
        load.more()
        decision.step(-HOUR_S, "server")
        decision.step(YEAR_S, "gbm")
        decision.step(HOUR_S, "proxy-0")
        load.more()
        decision.kill("server", "gbm")
        decision.step(HOUR_S, "server")
        decision.step(-HOUR_S, "gbm")
        decision.restart("server", "gbm")
        load.until(lambda answer: answer["kind"] == "preferred", "preferred")
        load.more()
    load.check(decision)
