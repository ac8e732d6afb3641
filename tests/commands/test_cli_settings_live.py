"""Check edits of every key of rdv.toml while the decision is served.

An edit takes effect, or is reported to do so at the next start. An edit that cannot be used changes
nothing, also for processes that restart.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from rdv.decision import Decision, Gate, Http, Log, ModelConfig, Server, load_decision
from rdv.decision.accepted import read_published
from rdv.decision.console import Console
from rdv.decision.decision import Cohort, Cohorts
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.decision.logs import Logging
from rdv.decision.notify import Notify
from rdv.decision.objective import Objective
from rdv.decision.outcome import Outcome
from rdv.decision.schema import Schema
from rdv.decision.sections import setting_fields
from rdv.decision.text import toml_value
from rdv.decision.traces import Traces
from rdv.decision.value import Value

pytestmark = [pytest.mark.timeout(300)]

SECTIONS = {
    "": Decision,
    "http": Http,
    "server": Server,
    "log": Log,
    "gate": Gate,
    "outcome": Outcome,
    "value": Value,
    "objective": Objective,
    "schema": Schema,
    "enrich_redis": RedisFeatures,
    "enrich_http": HttpFeatures,
    "console": Console,
    "logging": Logging,
    "notify": Notify,
    "traces": Traces,
    "models.extra": ModelConfig,
    "cohorts": Cohorts,
    "cohorts.b": Cohort,
}
MODEL = """
version = "1"

def predict(rows):
    return [{"score": 0.5, "saw": row} for row in rows]
"""
# Other valid values of the keys whose type does not determine one.
OTHERS: dict[str, object] = {
    "name": "another",
    "schedule": "fast-first",
    "http.host": "0.0.0.0",
    "env": ["RDV_TEST_ONE"],
    "models.extra.env": ["RDV_TEST_TWO"],
    "http.trusted_proxies": ["10.0.0.1"],
    "http.hosts": ["decisions.example"],
    "http.origins": ["https://shop.example"],
    "http.enrich": "models/enricher.py:enrich",
    "models.extra.path": "models/other.py",
    "models.extra.command": ["cat"],
    "models.extra.http": "http://127.0.0.1:9",
    "models.extra.remote": {"model": "another"},
    "models.extra.builtin": "canary",
    "models.extra.version": "7",
    "models.extra.input_errors": ["KeyError"],
    "models.extra.artifacts": ["models/logit.py"],
    "models.extra.memory_max": "4GiB",
    "models.extra.trusted": ["numpy.dtype"],
    "models.extra.options": {"more": 1},
    "models.extra.python": sys.executable,
    "models.extra.requirements": "models/empty.txt",
    "models.extra.instances_min": 1,
    "models.extra.instances_max": 2,
    "log.retention_ms": "forever",
    "log.mode": "0640",
    "gate.metric": "f1",
    "outcome.answer": "action",
    "outcome.field": "fraud",
    "outcome.positive": "fraud",
    "outcome.means": {"approve": "honest"},
    "outcome.mature_as": "honest",
    "outcome.metric": "f1",
    "value.cost": {"approve": {"honest": 1.5}},
    "value.function": "value.py:value",
    "value.unit": "EUR",
    "objective.quality_min": 0.9,
    "objective.metric": "f1",
    "enrich_redis.by": "id",
    "enrich_redis.fields": ["a"],
    "enrich_redis.into": "more",
    "enrich_redis.url": "redis://127.0.0.1:1/0",
    "enrich_redis.url_from": "RDV_TEST_REDIS",
    "enrich_redis.prefix": "user:",
    "enrich_http.by": "id",
    "enrich_http.fields": ["a"],
    "enrich_http.into": "others",
    "enrich_http.url": "http://127.0.0.1:1/{key}",
    "enrich_http.authorization_from": "RDV_TEST_TOKEN",
    "schema.json_schema": "schema.json",
    "schema.pydantic": "row.py:Row",
    "schema.columns": {"extra": {"type": "number", "default": 1.5}},
    "console.hidden_fields": ["card"],
    "traces.endpoint": "http://127.0.0.1:9",
    "console.host": "localhost",
    "logging.file": "serve.log",
    "notify.webhooks": {"one": {"url": "http://127.0.0.1:1/"}},
    "cohorts.salt": "pepper",
    "cohorts.b.schedule": "ab",
    "cohorts.b.models": ["mlp"],
}


@pytest.fixture(autouse=True)
def console_as_the_file_says(plain_environment, monkeypatch):
    monkeypatch.delenv("RDV_CONSOLE_ENABLED")


def another(key: str, kind: Any, default: object, meta: Any) -> object:
    """Return a valid value that is not the default."""
    if key in OTHERS:
        return OTHERS[key]
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        step = 1 if isinstance(default, int) else 0.25
        high = meta.le if meta is not None and meta.le is not None else float("inf")
        return default + step if default + step <= high else default - step
    raise AssertionError(f"{key}: put another valid value of it into OTHERS of this test")


def every_key():
    for section, struct in SECTIONS.items():
        hints = get_type_hints(struct, include_extras=True)
        for field in setting_fields(struct):
            key = f"{section}.{field.name}" if section else field.name
            kind, *metas = get_args(hints[field.name])
            if get_origin(hints[field.name]) is not Annotated:
                kind, metas = hints[field.name], []
            default = 0.5 if key == "cohorts.b.share" else field.default
            yield section, field, another(key, kind, default, metas[0] if metas else None)


class Settings:
    """Write the rdv.toml of the decision, with some keys changed."""

    def __init__(self):
        self.path = Path("fraud/rdv.toml")
        port = load_decision("fraud", {}).http.port
        self.base: dict[str, Any] = {
            "schedule": "production",
            "http": {"port": port},
            "server": {},
            "log": {},
            "gate": {},
            "outcome": {},
            "value": {},
            "objective": {},
            "schema": {"columns": {"known": {"type": "number", "required": False}}},
            "enrich_redis": {},
            "enrich_http": {},
            "console": {},
            "logging": {},
            "notify": {},
            "traces": {},
            "models": {
                name: {"path": f"models/{name}.py"} for name in ("mlp", "logit", "rules", "extra")
            },
            "cohorts": {"b": {"share": 0.5, "schedule": "fast-first"}},
        }

    def text(self, edits):
        """Return the TOML text with each (section, key, value) of `edits` applied."""
        table = json.loads(json.dumps(self.base))
        for section, key, value in edits:
            place = table
            for name in section.split(".") if section else ():
                place = place.setdefault(name, {})
            place[key] = value
            if section == "schema" and key in ("json_schema", "pydantic"):
                del place["columns"]
            if section == "models.extra" and key in ("command", "http"):
                del place["path"]
        return _toml(table, "")

    def write(self, *edits):
        scratch = self.path.with_name("rdv.toml.new")
        scratch.write_text(self.text(edits))
        os.replace(scratch, self.path)


def _toml(table, place):
    lines = [f"{k} = {toml_value(v)}" for k, v in table.items() if not isinstance(v, dict)]
    text = (f"[{place}]\n" if place else "") + "\n".join(lines) + "\n"
    for name, inner in table.items():
        if isinstance(inner, dict):
            text += _toml(inner, f"{place}.{name}" if place else name)
    return text


@pytest.fixture
def settings(decision):
    for name in ("mlp", "logit", "rules", "extra", "other"):
        Path(f"fraud/models/{name}.py").write_text(MODEL)
    Path("fraud/models/empty.txt").write_text("")
    Path("fraud/models/enricher.py").write_text(
        "def enrich(data):\n    return {**data, 'more': 1}\n"
    )
    Path("fraud/schema.json").write_text('{"type": "object"}')
    Path("fraud/row.py").write_text(
        "class Row:\n    @staticmethod\n    def model_json_schema():\n        return {}\n"
    )
    made = Settings()
    made.write()
    return made


def test_each_key_takes_effect_or_is_said_to_do_so_at_the_next_start(settings, serve):
    served = serve()
    before = load_decision("fraud", {})
    for section, field, value in every_key():
        key = f"{section}.{field.name}" if section else field.name
        settings.write((section, field.name, value))
        if field.effect == "serve":
            served.until(rf"\b{re.escape(key)} has changed: that takes effect at the next start")
            assert key in read_published("fraud").pending
        else:
            served.until(rf"in force now: .*\b{re.escape(key)}\b")
            assert load_decision("fraud", {}) == read_published("fraud").decision
    settings.write()
    served.until("in force now: ")
    assert read_published("fraud").decision == before
    assert served.end() == 0


def test_after_a_restart_every_key_is_in_force(settings, serve):
    assert serve().end() == 0
    edits = [
        (section, field.name, value)
        for section, field, value in every_key()
        if f"{section}.{field.name}"
        not in (
            "models.extra.command",
            "models.extra.http",
            "http.host",
            "schema.json_schema",
            "schema.pydantic",
            "enrich_redis.url_from",
        )
    ]
    settings.write(*edits)
    served = serve()
    published = read_published("fraud")
    assert published.decision == load_decision("fraud", {})
    assert (published.pending, published.faults) == ((), ())
    assert served.end() == 0


def once(data, **more):
    """Send one request over a new connection."""
    with contextlib.closing(client()) as connection:
        return decide(connection, data, **more)


def client():
    return http.client.HTTPConnection("127.0.0.1", served_port(), timeout=60)


def decide(connection, data, **more):
    body = json.dumps({"data": data, **more})
    connection.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_limits_cohorts_and_the_enricher_change_under_an_open_connection(settings, serve):
    served = serve()
    with contextlib.closing(client()) as connection:
        change_and_look(settings, served, connection)
    assert served.end() == 0


def change_and_look(settings, served, connection):
    assert decide(connection, {"a": "x" * 500})[0] == 200
    settings.write(("http", "body_bytes_max", 400))
    served.until("in force now: .*http.body_bytes_max")
    _until(lambda: once({"a": "x" * 500})[0] == 413)
    assert once({"a": 1})[0] == 200
    settings.write(("cohorts.b", "share", 1.0), ("cohorts.b", "schedule", "ab"))
    served.until("in force now: .*cohorts.b.share")
    _until(lambda: decide(connection, {"a": 1}, key="k")[1]["schedule"].startswith("ab@"))
    enrich = ("http", "enrich", "models/enricher.py:enrich")
    patient = ("http", "enrich_timeout_ms", 3_000)
    settings.write(enrich, patient)
    _until(lambda: decide(connection, {"a": 1})[1]["result"]["saw"].get("more") == 1)
    Path("fraud/models/enricher.py").write_text("def enrich(data):\n    return {'more': 2}\n")
    _until(lambda: decide(connection, {"a": 1})[1]["result"]["saw"].get("more") == 2)
    Path("fraud/models/enricher.py").write_text("def (")
    served.until("the one before stays")
    assert decide(connection, {"a": 1})[1]["result"]["saw"].get("more") == 2
    settings.write()
    _until(lambda: decide(connection, {"a": 1})[1]["result"]["saw"] == {"a": 1})


def _until(holds):
    """Check that it holds within 2,000 tries: processes apply an edit one after the other."""
    assert any(holds() for _ in range(2_000))


@pytest.mark.parametrize("role", ["server-0", "mlp-0", "p-"])
def test_a_process_that_restarts_has_the_last_good_settings(rdv, settings, serve, role):
    served = serve()
    settings.write(("", "partitions", 4), ("http", "keep_alive_ms", 70_000))
    served.until("partitions has changed: that takes effect at the next start")
    settings.path.write_text("[http\n")
    served.until(r"rdv.toml: TOML: .*nothing is changed by it")
    production = Path("fraud/schedules/production.toml")
    good = production.read_text()
    production.write_text(good.replace('"mlp"', '"mpl"'))
    served.until(r"there is no model 'mpl'.*last version stays in force")
    shown = rdv("status", "fraud").out
    assert "not in force  fraud/rdv.toml: TOML" in shown
    assert "not in force  fraud/schedules/production.toml" in shown
    assert "at the next start  partitions" in shown
    name = role if role != "p-" else f"p-{served_port()}"
    os.kill(served.pid(name), signal.SIGKILL)
    served.until(rf"\b{name} is ready")
    for number in range(20):
        status, answer = once({"a": 1}, key=f"k-{number}")
        assert (status, answer["kind"]) == (200, "preferred") or number < 5, answer
    settings.write()
    production.write_text(good + "\n# a comment\n")
    served.until("in force now: ")
    assert served.end() == 0


def served_port():
    return json.loads(Path("fraud/.rdv/serve.lock").read_text())["ports"][0]


@pytest.mark.parametrize("order", ["settings first", "schedule first"])
def test_a_model_and_a_schedule_that_names_it_in_either_order(settings, serve, order):
    served = serve()
    production = Path("fraud/schedules/production.toml")
    text = production.read_text().replace('"mlp"', '"late"')

    def declare():
        settings.write(("models.late", "path", "models/other.py"))

    def name():
        production.write_text(text)

    steps = [declare, name] if order == "settings first" else [name, declare]
    steps[0]()
    served.until("in force now: models.late" if steps[0] is declare else "no model 'late'")
    steps[1]()
    served.until("in force now: .*schedule production@")
    _until(lambda: once({"a": 1})[1]["model"] == "late")
    assert served.end() == 0


def test_a_folder_replaced_by_rename_is_still_watched_and_promoted_in(rdv, settings, serve):
    served = serve()
    folder = Path("fraud/schedules")
    for number in range(2):
        new = Path(f"fraud/schedules-{number}")
        new.mkdir()
        for file in folder.glob("*.toml"):
            (new / file.name).write_text(file.read_text())
        os.rename(folder, f"fraud/old-{number}")
        os.rename(new, folder)
    outcome = rdv("schedule", "use", "fraud", "fast-first")
    assert outcome.code == 0, outcome.err
    _until(lambda: once({"a": 1})[1]["schedule"].startswith("fast-first@"))
    production = folder / "fast-first.toml"
    production.write_text(production.read_text() + "# edited\n" + "\n")
    production.write_text(production.read_text().replace("sla_ms = ", "sla_ms = 1"))
    served.until("in force now: .*schedule fast-first@")
    assert served.end() == 0


def test_a_schedule_that_does_not_go_live_is_a_failure(rdv, settings, serve, monkeypatch):
    """The supervisor is stopped, so that no process applies the edit."""
    from rdv.decision import switch

    monkeypatch.setattr(switch, "TIMEOUT_S", 0.5)
    served = serve()
    served.process.send_signal(signal.SIGSTOP)
    try:
        outcome = rdv("schedule", "use", "fraud", "fast-first")
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert outcome.code == 1
    assert "no server has reported" in outcome.err
    assert served.end() == 0


def test_json_of_settings_survives():
    """Encoding and decoding the published settings changes nothing, in any section."""
    decision = Decision(models={"a": ModelConfig(path="a.py", instances_min=0)})
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


def test_the_environment_of_the_enricher_changes_at_the_next_start_and_that_is_said(
    settings, serve
):
    """The models are replaced, so for them it changes at once."""
    settings.write(("http", "enrich", "models/enricher.py:enrich"))
    served = serve()
    settings.write(("http", "enrich", "models/enricher.py:enrich"), ("", "env", ["SHARED_KEY"]))
    served.until(r"env \(for http.enrich\) has changed: that takes effect at the next start")
    served.until("in force now: env")
    assert "env (for http.enrich)" in read_published("fraud").pending
    settings.write(("http", "enrich", "models/enricher.py:enrich"))
    served.until("in force now: env")
    assert read_published("fraud").pending == ()
    assert served.end() == 0
