"""Check that each setting declares when an edit takes effect, and that removed keys warn."""

from __future__ import annotations

import pytest

from rdv.decision import Decision, Gate, Http, InvalidDecision, Log, ModelConfig, Server
from rdv.decision import parse_decision as parse
from rdv.decision.console import Console
from rdv.decision.convert import RETIRED, Retired
from rdv.decision.decision import Cohort, Cohorts
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.decision.load import with_environment
from rdv.decision.logs import Logging
from rdv.decision.mlflow import Mlflow
from rdv.decision.notify import Notify
from rdv.decision.objective import Objective
from rdv.decision.outcome import Outcome
from rdv.decision.remote import Remote
from rdv.decision.schema import Schema
from rdv.decision.sections import Drift, setting_fields
from rdv.decision.text import default_text
from rdv.decision.traces import Traces
from rdv.decision.value import Value

SECTIONS = {
    "": Decision,
    "http": Http,
    "server": Server,
    "log": Log,
    "gate": Gate,
    "outcome": Outcome,
    "value": Value,
    "mlflow": Mlflow,
    "objective": Objective,
    "schema": Schema,
    "enrich_redis": RedisFeatures,
    "enrich_http": HttpFeatures,
    "drift": Drift,
    "logging": Logging,
    "notify": Notify,
    "console": Console,
    "traces": Traces,
    "models.NAME": ModelConfig,
    "models.NAME.remote": Remote,
    "cohorts": Cohorts,
    "cohorts.NAME": Cohort,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_each_setting_declares_its_effect(section):
    silent = [f.name for f in setting_fields(SECTIONS[section]) if f.effect is None]
    assert not silent, (
        f"[{section}] {', '.join(silent)}: no code says when an edit takes effect. Write "
        'setting("…", …, effect="live"), "replace", "serve" or "command" (rdv.decision.sections). '
        'What is "live" must be taken over by the running processes (ProxyProcess, ServerProcess).'
    )


@pytest.mark.parametrize("section", ["", "http", "server", "log"])
def test_the_file_says_what_waits_for_the_next_serve(section):
    _, head, rest = f"\n[]\n{default_text()}".partition(f"\n[{section}]\n")
    lines = (head + rest.partition("\n[")[0]).splitlines()
    for field in setting_fields(SECTIONS[section]):
        (at,) = [n for n, line in enumerate(lines) if line.startswith(f"#{field.name} = ")]
        assert ("next rdv serve" in lines[at - 1]) == (field.effect == "serve")


@pytest.fixture
def gone(monkeypatch):
    monkeypatch.setitem(RETIRED, "http.colour", Retired("0.2.0", "take it out"))
    monkeypatch.setitem(RETIRED, "models.*.weight", Retired("0.3.0", "use sample"))
    monkeypatch.setitem(RETIRED, "old", Retired("0.2.0", "it did nothing"))


def test_keys_that_have_gone_are_warnings(gone):
    text = "old = 1\n[http]\ncolour = 'red'\nport = 9\n[models.a]\npath = 'a.py'\nweight = 2\n"
    decision = parse(text, "rdv.toml")
    assert decision.http.port == 9
    assert sorted(decision.warnings) == [
        "http.colour has no effect since rdv 0.2.0: take it out",
        "models.a.weight has no effect since rdv 0.3.0: use sample",
        "old has no effect since rdv 0.2.0: it did nothing",
    ]


@pytest.mark.parametrize(
    "text", ["[http]\nwight = 1\n", "weight = 1\n", "[server]\ncolour = 'red'\n", "[old]\nx = 1\n"]
)
def test_other_unknown_keys_are_still_refused(gone, text):
    if text.startswith("[old]"):
        assert parse(text, "rdv.toml").warnings
        return
    with pytest.raises(InvalidDecision, match="no such setting"):
        parse(text, "rdv.toml")


def test_a_variable_of_a_key_that_has_gone_is_a_warning_as_well(gone):
    decision = with_environment(parse("", "rdv.toml"), {"RDV_HTTP_COLOUR": "red"})
    assert decision.warnings == ("RDV_HTTP_COLOUR has no effect since rdv 0.2.0: take it out",)
