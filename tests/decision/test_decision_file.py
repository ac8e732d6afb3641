"""Check the parsing of rdv.toml, what is refused, and the generated text."""

import contextlib
import re
import subprocess
import sys
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.decision import (
    Cohort,
    Cohorts,
    Decision,
    DecisionNotFound,
    Gate,
    Http,
    InvalidDecision,
    Log,
    ModelConfig,
    Server,
    decision_text,
    default_text,
    load_decision,
    missing_files,
    parse_decision,
    schedule_names,
)
from rdv.decision.console import Console
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.decision.logs import Logging
from rdv.decision.mlflow import Mlflow
from rdv.decision.notify import Notify
from rdv.decision.objective import Objective
from rdv.decision.outcome import Outcome
from rdv.decision.schema import Schema
from rdv.decision.sections import Drift, setting_fields
from rdv.decision.traces import Traces
from rdv.decision.value import Value
from rdv.errors import InputFault


def refused(text):
    with pytest.raises(InvalidDecision) as caught:
        parse_decision(text, "fraud/rdv.toml")
    assert isinstance(caught.value, InputFault)
    assert str(caught.value).startswith("fraud/rdv.toml: ")
    return caught.value


def test_an_empty_file_is_all_defaults():
    assert parse_decision("", "x") == Decision()


def test_the_default_text_says_the_defaults():
    assert parse_decision(default_text(), "x") == Decision()


SECTIONS = {
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
    "drift": Drift,
    "logging": Logging,
    "notify": Notify,
    "console": Console,
    "traces": Traces,
    "mlflow": Mlflow,
}


def test_the_commented_defaults_are_the_defaults():
    text = re.sub(r"^#(?=[a-z_]+ = )", "", default_text(), flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert parse_decision(text, "x") == Decision()
    for section, kind in SECTIONS.items():
        assert list(values[section]) == list(kind.__struct_fields__)
    assert [key for key in values if key not in (*SECTIONS, "cohorts")] == [
        "name",
        "schedule",
        "partitions",
        "env",
    ]


def test_the_list_of_a_models_keys_is_true():
    found = re.findall(r"^#   (\w+) = (.*)$", default_text(), re.MULTILINE)
    assert [name for name, _ in found] == list(ModelConfig.__struct_fields__)
    for name, value in found:
        default = msgspec.to_builtins(getattr(ModelConfig(), name))
        assert tomllib.loads(f"x = {value}")["x"] == default


@pytest.mark.parametrize("kind", [Decision, *SECTIONS.values(), ModelConfig, Cohort, Cohorts])
def test_every_setting_has_a_comment_that_fits_on_a_line(kind):
    documented = {field.name: field.comment for field in setting_fields(kind)}
    tables = {
        "directory",
        "warnings",
        "http",
        "server",
        "log",
        "gate",
        "outcome",
        "value",
        "objective",
        "schema",
        "enrich_redis",
        "enrich_http",
        "mlflow",
        "registered",
        "drift",
        "logging",
        "notify",
        "console",
        "traces",
        "models",
        "cohorts",
        "groups",
        "share",
    }
    assert set(kind.__struct_fields__) - tables == set(documented) - tables
    assert all(0 < len(comment) <= 94 for comment in documented.values())


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
models = st.one_of(
    st.builds(ModelConfig, path=words, batch_max=st.integers(1, 100), retired=st.booleans()),
    st.builds(ModelConfig, command=st.lists(words, min_size=1, max_size=3), version=words),
    st.just(ModelConfig(builtin="decoy")),
    st.builds(ModelConfig, builtin=st.just("canary"), path=words),
)
decisions = st.builds(
    Decision,
    name=names,
    schedule=names,
    partitions=st.integers(1, 4096),
    http=st.builds(
        Http,
        host=words.filter(lambda word: not {"[", "]"} & {*word}),
        port=st.integers(1, 60_000),
        hosts=st.lists(st.sampled_from(["*", "shop.example", "10.0.0.5:81", "::1"])),
        origins=st.lists(st.sampled_from(["https://shop.example", "http://a:81"])),
        enrich_timeout_ms=st.just(7),
    ),
    gate=st.builds(Gate, loss_max=st.floats(0, 1), marginal_factor=st.floats(1, 9)),
    log=st.builds(Log, retention_ms=st.one_of(st.just("forever"), st.integers(1, 10**15))),
    models=st.dictionaries(names, models, max_size=3),
    cohorts=st.builds(
        Cohorts,
        salt=words,
        groups=st.dictionaries(
            names.filter(lambda name: name != "salt"),
            st.builds(Cohort, share=st.floats(0, 0.25), schedule=names, explore=st.floats(0, 1)),
            max_size=4,
        ),
    ),
)


@settings(max_examples=40, deadline=None)
@given(decisions)
def test_any_decision_survives_being_written_and_read(decision):
    assert parse_decision(decision_text(decision), "x") == decision


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("schedul = 'x'", "schedul", "no such setting"),
        ("[http]\nprot = 1", "http.prot", "no such setting"),
        ("[models.a]\npath = 'a.py'\nbatch = 3", "models.a.batch", "no such setting"),
        ("[cohorts.t]\nshare = 0.1\nschedul = 'x'", "cohorts.t.schedul", "no such setting"),
        ("directory = 'x'", "directory", "no such setting"),
        ("[http]\nport = 'x'", "http.port", "expected `int`, got `str`"),
        ("[http]\nport = 8100.5", "http.port", "expected `int`"),
        ("[http]\nport = true", "http.port", "expected `int`, got `bool`"),
        ("[http]\nport = 0", "http.port", "expected `int` >= 1"),
        ("[http]\nport = 65535\nproxies = 2", "http.port", "need ports above 65535"),
        ("[http]\nwhen_full = 'wait'", "http.when_full", "invalid enum value 'wait'"),
        ("[http]\nenrich = 'profile'", "http.enrich", "is not FILE.py:FUNCTION"),
        ("http = 3", "http", "is a table"),
        ("partitions = 0", "partitions", ">= 1"),
        ("partitions = 5000", "partitions", "<= 4096"),
        ("schedule = '../x'", "schedule", "cannot be a name"),
        (f"name = '{'x' * 129}'", "name", "longer than 128"),
        ("name = '.x'", "name", "cannot be a name"),
        ("[log]\nretention_ms = 'never'", "log.retention_ms", "invalid"),
        ("[log]\nretention_ms = 0", "log.retention_ms", ">= 1"),
        ("models = []", "models", "is a table"),
        ("models.a = 1", "models.a", "is a table"),
        ("[models.a]", "models.a", "needs one of path, command"),
        ("[models.a]\nbuiltin='canary'", "models.a", "a canary needs one of"),
        ("[models.a]\npath='a.py'\ncommand=['a']", "models.a", "has path and command"),
        ("[models.a]\npath='a.py'\nbuiltin='decoy'", "models.a", "has path and builtin"),
        ("[models.a]\ncommand=['a', '']", "models.a.command", "empty word"),
        ("[models.a]\ncommand=[1]", "models.a.command[0]", "expected `str`"),
        ("[models.'a/b']\npath='a.py'", "models.a/b", "cannot be a name"),
        ('[models.a]\npath="a\\u0000.py"', "models.a.path", "NUL"),
        ("[cohorts.t]\nshare = 0.1", "cohorts.t.schedule", "is missing"),
        ("[cohorts.t]\nshare = 2\nschedule = 'x'", "cohorts.t.share", "<= 1"),
        ("[cohorts.t]\nshare = nan\nschedule = 'x'", "cohorts.t.share", "expected `float` >= 0.0"),
        ("[cohorts]\nsalt = 1", "cohorts.salt", "expected `str`"),
        ("[cohorts.a]\nshare=0.6\nschedule='x'\n[cohorts.b]\nshare=0.6\nschedule='x'",
         "cohorts", "add up to 1.2"),
        ("x = ", "TOML", "at end of document"),
        ("a = 1\na = 2", "TOML", "overwrite"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(text, key, reason):
    error = refused(text)
    assert error.key == key
    assert reason in error.reason


def test_a_misspelt_key_gets_a_suggestion():
    assert refused("[http]\nbody_byte_max = 1").suggestion == "body_bytes_max"
    assert refused("[model.a]\npath = 'a.py'").hint() == "Did you mean 'models'?"


@given(st.text(max_size=200))
def test_any_text_is_a_decision_or_is_refused(text):
    with contextlib.suppress(InvalidDecision):
        parse_decision(text, "x")


def test_loading(tmp_path):
    with pytest.raises(DecisionNotFound, match="no such directory"):
        load_decision(str(tmp_path / "fraud"))
    with pytest.raises(DecisionNotFound, match="rdv init"):
        load_decision(str(tmp_path))
    (tmp_path / "rdv.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(InvalidDecision, match="line 1 is not UTF-8"):
        load_decision(str(tmp_path))
    (tmp_path / "rdv.toml").write_bytes(b"#" * 1024 * 1024 + b"##")
    with pytest.raises(InvalidDecision, match="larger than"):
        load_decision(str(tmp_path))


def test_a_decision_knows_its_places(tmp_path):
    (tmp_path / "rdv.toml").write_text("[models.a]\npath = 'models/a.py'\n")
    decision = load_decision(str(tmp_path))
    assert decision.name == tmp_path.name
    assert decision.directory == str(tmp_path)
    assert decision.schedule_path() == str(tmp_path / "schedules/production.toml")
    assert decision.schedule_path("ab") == str(tmp_path / "schedules/ab.toml")
    assert decision.stream_path("input") == str(tmp_path / "input")
    assert [error.key for error in missing_files(decision)] == ["schedule", "models.a.path"]
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules/production.toml").write_text("")
    (tmp_path / "schedules/.hidden.toml").write_text("")
    assert [error.key for error in missing_files(decision)] == ["models.a.path"]
    assert schedule_names(str(tmp_path)) == ("production",)


def test_decoys_and_the_retired_report_no_scores():
    decision = parse_decision(
        "[models.a]\npath='a.py'\n[models.b]\nbuiltin='decoy'\n"
        "[models.c]\npath='c.py'\nretired=true\n[models.d]\npath='a.py'\nbuiltin='canary'",
        "x",
    )
    assert decision.scoring_models() == ["a", "d"]
    assert decision.models["a"].skips
    assert not decision.models["d"].skips


def test_the_log_section_makes_stream_settings():
    config = parse_decision("[log]\nretention_ms='forever'\nfsync='always'", "x").log.stream_config(
        3
    )
    assert (config.partitions, config.retention_ms, config.fsync) == (3, None, "always")


def test_importing_is_light():
    code = (
        "import sys, rdv.decision, rdv.models\n"
        "print([m for m in ('numpy', 'sklearn', 'joblib', 'pyarrow', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
