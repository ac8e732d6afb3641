"""Serve the page of a decision to a test client, without a network."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import orjson
from made_log import MODELS, PRODUCTION
from starlette.applications import Starlette

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.console.console import Console
from rdv.console.page import routes
from rdv.decision import load_decision

with warnings.catch_warnings():  # it would rather have httpx2
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

COUNT = 120
HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
QUOTED = "4222-2222"
"""A hidden value that answers, an error and a key quote."""
SETTINGS = """
schedule = "production"
[console]
hidden_fields = ["card", "home.street"]
"""


def write_settings(directory: Path, text: str = SETTINGS) -> None:
    (directory / "schedules").mkdir(exist_ok=True)
    (directory / "models").mkdir(exist_ok=True)
    steps = "".join(
        f"[[step]]\n{'' if step.until_ms is None else f'until_ms = {step.until_ms:g}'}\n"
        f"accept = {orjson.dumps(step.accept).decode()}\n"
        for step in PRODUCTION.steps
    )
    default = 'default = { score = 0.0, action = "review" }'
    (directory / "schedules" / "production.toml").write_text(f"sla_ms = 50\n{default}\n{steps}")
    tables = "".join(f'[models.{name}]\npath = "models/{name}.py"\n' for name in MODELS)
    (directory / "rdv.toml").write_text(text + tables)
    for name in MODELS:
        (directory / "models" / f"{name}.py").write_text("def predict(rows): return rows\n")


def console_of(directory: Path, clock: Clock = SYSTEM_CLOCK) -> Console:
    """Return a console that has read everything."""
    decision = partial(load_decision, str(directory))
    console = Console(str(directory), decision, saves=False, clock=clock)
    while console.turn():
        pass
    return console


def page_of(directory: Path) -> TestClient:
    app = Starlette(routes=routes(console_of(directory)))
    return TestClient(app, follow_redirects=False)
