"""Run a small decision whose models answer with what they have seen."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

from ports import free_port
from running import Decision

SCHEDULE = """
sla_ms = 20000
default = { by = "default" }
[[step]]
accept = ["echo"]
"""
MODEL = """
version = "1"

def predict(rows):
    return [{"saw": row} for row in rows]
"""


class Echo(Decision):
    """Runs one proxy, a server and models, by default `echo`."""

    models: dict[str, str]
    """The settings of each model."""

    def ask(self, body, **headers):
        """Return the status and the parsed answer of `POST /v1/decide`."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        ) as connection:
            kind = {"Content-Type": "application/json", **headers}
            connection.request("POST", "/v1/decide", text, kind)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def write(self, settings: str) -> None:
        """Write rdv.toml."""
        tables = (f"[models.{name}]\n{rest}\n" for name, rest in self.models.items())
        text = f"{settings}\n{''.join(tables)}"
        scratch = self.directory / "rdv.toml.new"
        scratch.write_text(text.replace("PORT", str(self.port)))
        scratch.replace(self.directory / "rdv.toml")


@contextlib.contextmanager
def echoing(
    directory: Path,
    settings: str = "[http]\nport = PORT\n",
    schedule: str = SCHEDULE,
    models: dict[str, str] | None = None,
    more: str = "",
) -> Iterator[Echo]:
    """Serve it for the time of a block; afterwards every recorded decision is verified.

    `models` has the Python code of each model, `more` further settings of each.
    """
    models = models or {"echo": MODEL}
    for name in ("models", "schedules"):
        (directory / name).mkdir(parents=True)
    (directory / "schedules" / "production.toml").write_text(schedule)
    for name, code in models.items():
        (directory / "models" / f"{name}.py").write_text(code)
    decision = Echo(directory, free_port())
    decision.models = {name: f'path = "models/{name}.py"\n{more}' for name in models}
    decision.write(settings)
    try:
        decision.start("server", "proxy-0")
        for name in models:
            arguments = ["worker", str(directory), name]
            decision.processes[name] = decision.start_process(name, arguments)
        decision.await_ready()
        yield decision
    finally:
        decision.close()
