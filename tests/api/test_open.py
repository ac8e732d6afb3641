"""Check `rdv.open`: tables that any Arrow library reads, and studies that a notebook shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import made_log
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from made_log import BEGIN_NS, INLINE, MODELS, PRODUCTION, MadeLog, make_requests

import rdv
from rdv.__main__ import main
from rdv.analysis.dataset.join import read_joined
from rdv.rendezvous.schedule import Schedule

COUNT = 600
SCHEDULE = """
sla_ms = 50
default = { score = 0.0, action = "review" }
[[step]]
until_ms = 30
accept = ["gbm"]
[[step]]
until_ms = 45
accept = ["gbm", "logit"]
[[step]]
accept = ["*"]
"""
MODEL = """
version = "2"
def predict(rows):
    return [{"score": 0.25, "action": "pass"} for _ in rows]
"""


def make(directory: Path, count: int = COUNT) -> Path:
    (directory / "schedules").mkdir(parents=True)
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    quick = SCHEDULE.replace("sla_ms = 50", "sla_ms = 47")
    (directory / "schedules" / "quick.toml").write_text(quick)
    (directory / "models").mkdir()
    tables = [f'[models.{name}]\npath = "models/{name}.py"\n' for name in MODELS]
    for name in MODELS:
        (directory / "models" / f"{name}.py").write_text(MODEL)
    (directory / "rdv.toml").write_text("".join(tables))
    return MadeLog(make_requests(count)).write(directory)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return make(tmp_path_factory.mktemp("open") / "fraud")


@pytest.fixture(scope="module")
def fraud(directory):
    return rdv.open(directory)


@pytest.fixture(scope="module")
def joined(directory):
    """The join itself, against which the tables are held."""
    return read_joined(str(directory))[0]


def files(directory):
    return sorted(
        (str(path), path.stat().st_size) for path in directory.rglob("*") if path.is_file()
    )


TABLES = {
    "requests": lambda fraud: fraud.requests(),
    "results": lambda fraud: fraud.results(),
    "outcomes": lambda fraud: fraud.outcomes(),
    "scores": lambda fraud: fraud.scores(),
    "long": lambda fraud: fraud.scores(long=True),
    "joined": lambda fraud: fraud.joined(),
    "metrics": lambda fraud: fraud.metrics(),
    "errors": lambda fraud: fraud.errors(),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_library_reads_the_same_table(fraud, name):
    table = TABLES[name](fraud)
    arrow = table.to_arrow()
    assert pa.table(table).equals(arrow)
    assert len(table) == arrow.num_rows == len(table.to_pandas()) == len(table.to_polars())
    assert list(table.to_pandas().columns) == table.columns == table.to_polars().columns
    assert len(pl.DataFrame(table)) == arrow.num_rows
    assert len(duckdb.from_arrow(table).fetchall()) == arrow.num_rows
    assert table.schema.equals(arrow.schema)
    assert sum(batch.num_rows for batch in table.batches()) == arrow.num_rows
    assert name == "long" or name in repr(table)
    html = table._repr_html_()
    assert html.startswith("<table>")
    assert "<script" not in html
    assert table.head(3).num_rows == min(3, arrow.num_rows)


def test_looking_creates_nothing(directory, fraud):
    before = files(directory)
    for table in TABLES.values():
        table(fraud).to_arrow()
    fraud.verify()
    fraud.explain(fraud.requests().head(1).column("id")[0].as_py())
    assert files(directory) == before


def test_scores_have_a_row_a_request_and_a_column_a_model(fraud, joined):
    found = fraud.scores().to_pandas()
    assert list(found.columns) == ["id", "time", "key", *sorted(MODELS)]
    assert len(found) == len(joined) == COUNT
    by_id = found.set_index("id")
    for row in range(len(joined)):
        for number, model in enumerate(joined.models):
            score = joined.score(number, row)
            is_there = joined.outcome[number, row] == 1
            value = by_id[model][joined.id(row)]
            if is_there:
                assert value == orjson.loads(bytes(score.result))["score"]
            else:
                assert pd.isna(value)
    labels = fraud.scores(value="label").to_pandas()
    assert set(labels["gbm"].dropna()) == {"pass", "block"}
    results = fraud.scores(value="result").to_pandas()
    assert orjson.loads(results["gbm"].dropna().iloc[0]).keys() == {"score", "action"}
    with pytest.raises(rdv.InvalidCall, match="value"):
        fraud.scores(value="nope")


NAMES = ("id", "score.id", "key"), ("time", "key", "id"), ("model", "outcome", "score")


@pytest.mark.parametrize("names", NAMES, ids=".".join)
def test_models_may_be_called_as_columns_are(tmp_path, monkeypatch, names):
    monkeypatch.setattr(made_log, "MODELS", names)
    directory = tmp_path / "d"
    (directory / "schedules").mkdir(parents=True)
    schedule = 'sla_ms = 50\ndefault = "late"\n[[step]]\naccept = ["*"]\n'
    (directory / "schedules" / "production.toml").write_text(schedule)
    (directory / "rdv.toml").write_text("")
    made = MadeLog(make_requests(60))
    made.write(directory)
    fraud = rdv.open(directory)
    wide, both = fraud.scores().to_pandas(), fraud.joined().to_pandas()
    assert len(set(wide.columns)) == len(wide.columns) == 6
    assert set(wide.id) == {request.message().id for request in made.requests}
    for name in names:
        column = name if name not in ("id", "time", "key") else f"score.{name}"
        if name == "id" and "score.id" in names:
            column = "score.score.id"
        pd.testing.assert_series_equal(wide[column], both[f"score.{name}"], check_names=False)
        assert wide[column].notna().any()


def test_long_scores_have_version_error_and_arrival(fraud, joined):
    found = fraud.scores(long=True).to_pandas()
    reports = int((joined.outcome != 0).sum())
    assert len(found) == reports
    errors = found[found.outcome == "error"]
    assert set(errors.error) == {"boom"}
    assert set(found[found.outcome == "result"].version) == {"1"}
    assert found.arrived_ms.notna().any()
    assert found[found.is_exact].arrived_ms.min() > 0
    assert set(found.model) == set(MODELS)
    assert found.time.is_monotonic_increasing


def test_joined_has_data_scores_answer_and_truth(tmp_path):
    fraud = rdv.open(make(tmp_path / "fraud", 100))
    ids = fraud.requests().to_pandas().id
    frame = pd.DataFrame({"request": ids, "truth": ["block", "pass"] * 50})
    frame.loc[frame.index[:10], "truth"] = None
    assert fraud.record_outcomes(frame, id="request", outcome="truth") == (90, 0)
    found = fraud.joined().to_pandas()
    assert found["data.n"].tolist() == list(range(100))
    assert {"score.gbm", "score.logit", "score.rules"} <= set(found.columns)
    assert found.outcome.isna().sum() == 10
    assert set(found.outcome_label.dropna()) == {"block", "pass"}
    assert found.kind.notna().all()
    scores = fraud.scores().to_pandas().set_index("id")
    for model in MODELS:
        merged = found.set_index("id")[f"score.{model}"]
        pd.testing.assert_series_equal(merged, scores[model], check_names=False)
    again = fraud.outcomes().to_pandas()
    assert len(again) == 90
    assert again.source.str.startswith("cli:").all()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([True, False], [True, False]),
        (["a", None], ["a", None]),
        ([1, "a"], ["1", '"a"']),
        ([[1], {"b": 2}], ["[1]", '{"b":2}']),
        ([2**53 + 1, 1], [str(2**53 + 1), "1"]),
    ],
)
def test_fields_of_the_data_keep_their_types(values, wanted):
    from rdv.api.tables import _DataColumns

    columns = _DataColumns([{"x": value} for value in values])
    (field,) = columns.fields()
    found = columns.columns([orjson.dumps({"x": value}).decode() for value in values])
    assert pa.array(found["data.x"], field.type).to_pylist() == wanted
    assert field.name == "data.x"
    assert columns.columns(["7", '{"y": 1}'])["data.x"] == [None, None]


def test_data_that_is_no_object_is_one_column_of_json():
    from rdv.api.tables import _DataColumns

    for sample in ([[1, 2]], [{"a": 1}, 7], [{}], [{f"f{n}": n for n in range(501)}]):
        columns = _DataColumns(sample)
        assert [field.name for field in columns.fields()] == ["data"]
        assert columns.columns(["[1,2]"]) == {"data": ["[1,2]"]}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "duckdb", "pairs", "mappings"])
def test_outcomes_of_any_library_are_recorded(tmp_path, library):
    fraud = rdv.open(make(tmp_path / "fraud", 20))
    ids = fraud.requests().to_polars()["id"].to_list()
    columns = {"id": ids, "outcome": [n % 2 for n in range(20)]}
    frame = pa.table(columns)
    given = {
        "pandas": lambda: pd.DataFrame(columns),
        "polars": lambda: pl.DataFrame(columns),
        "pyarrow": lambda: frame,
        "duckdb": lambda: duckdb.from_arrow(frame),
        "pairs": lambda: zip(ids, columns["outcome"], strict=True),
        "mappings": lambda: pa.table(columns).to_pylist(),
    }
    assert fraud.record_outcomes(given[library]()) == (20, 0)
    assert fraud.joined().to_pandas().outcome.tolist() == [str(n % 2) for n in range(20)]


def test_outcomes_that_are_wrong_record_nothing(tmp_path):
    directory = make(tmp_path / "fraud", 20)
    fraud = rdv.open(directory)
    good = fraud.requests().head(1).column("id")[0].as_py()
    wrong = [
        [(good, 1), ("", 1)], [(good, float("inf"))], [(good, 2**70)], [(good, object())],
        [("0" * 32, 1)], [{"id": good}], [{"id": good, "outcome": 1, "time": "someday"}],
        [(good, 1), (None, 1)], "text", 7,
    ]  # fmt: skip
    for given in wrong:
        with pytest.raises(rdv.RdvError):
            fraud.record_outcomes(given)
    assert len(fraud.outcomes()) == 0
    assert fraud.record_outcomes([(good, 1), ("0" * 32, 1)]) == (2, 1)
    assert fraud.record_outcomes([(good, None)]).recorded == 1


def test_metrics_are_by_version(tmp_path):
    fraud = rdv.open(make(tmp_path / "fraud"))
    before = fraud.metrics().to_pandas()
    assert set(before.model) == set(MODELS)
    assert set(before.version) == {"1"}
    assert (before.requests == before.results + before.errors + before.refusals).all()
    assert before.value.isna().all()
    assert before.note.notna().all()
    labels = fraud.scores(value="label").to_pandas()
    truths = labels.assign(outcome=labels["gbm"].fillna("pass"))
    fraud.record_outcomes(truths[["id", "outcome"]])
    found = fraud.metrics(by="model").to_pandas().set_index("model")
    assert found.version.isna().all()
    gbm = found.loc["gbm"]
    assert gbm.known == gbm.requests
    assert found.loc["rules"].value < gbm.value <= 1.0
    assert found.loc["rules"].low < found.loc["rules"].value < found.loc["rules"].high
    log_loss = fraud.metrics(metric="f1").to_pandas()
    assert len(log_loss) == 3
    with pytest.raises(rdv.RdvError):
        fraud.metrics(metric="nope")
    with pytest.raises(rdv.InvalidCall):
        fraud.metrics(by="day")


def test_errors_are_grouped_with_an_example(fraud, joined):
    found = fraud.errors("gbm").to_pandas()
    number = joined.models.index("gbm")
    assert found["count"].tolist() == [int((joined.outcome[number] == 5).sum())]
    example = found.iloc[0]
    assert (example.error, example.version) == ("boom", "1")
    assert "n" in orjson.loads(example.data)
    assert fraud.explain(example.id).request.id == example.id
    assert set(fraud.errors().to_pandas().model) <= set(MODELS)
    with pytest.raises(rdv.RdvError, match="gmb"):
        fraud.errors("gmb")


def test_the_command_shows_the_errors(directory, fraud, capsys):
    table = fraud.errors("gbm").to_pandas()
    assert main(["errors", str(directory), "gbm"]) == 0
    (row,) = map(orjson.loads, capsys.readouterr().out.splitlines())
    assert (row["count"], row["id"], row["code"]) == (
        table["count"][0], table["id"][0], "predict_raised",
    )  # fmt: skip
    assert row["data"] == orjson.loads(table["data"][0])
    assert main(["errors", str(directory), "--json", "--until", "2001-01-01"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["errors", str(directory), "gmb"]) == 3
    assert "gmb" in capsys.readouterr().err


def test_the_command_shows_a_table_on_a_terminal(directory, capsys, monkeypatch):
    monkeypatch.setattr("rdv.commands.model_errors.is_terminal", lambda _: True)
    assert main(["errors", str(directory)]) == 0
    out = capsys.readouterr().out
    assert "COUNT" in out
    assert "boom" in out
    assert "data: {" in out
    assert main(["errors", str(directory), "--until", "2001-01-01T00:00Z"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "no errors of any model are recorded\n")
    assert main(["errors", str(directory), "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_since_and_until_bound_the_requests(fraud):
    middle_ns = BEGIN_NS + COUNT * 10**6
    middle = datetime.fromtimestamp(middle_ns / 1e9, UTC)
    for since in (middle_ns, middle, middle.isoformat(), middle.replace(tzinfo=None)):
        later = len(fraud.requests(since=since))
        assert 0 < later < COUNT
        assert later + len(fraud.requests(until=since)) == COUNT
        assert len(fraud.scores(since=since)) == later
        assert len(fraud.joined(since=since)) == later
    assert len(fraud.requests(since="1h")) == 0
    assert len(fraud.scores(since="yesterday")) == 0
    with pytest.raises(rdv.RdvError, match="soon"):
        fraud.requests(since="soon")


def test_studies_are_what_the_commands_say(directory, fraud):
    def said(*arguments):
        command = [sys.executable, "-m", "rdv", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return orjson.loads(done.stdout)

    where = str(directory)
    some = fraud.requests().head(1).column("id")[0].as_py()
    assert said("explain", where, some) == _plain(fraud.explain(some).as_json())
    new = str(directory.parent / "gbm.py")  # like the declared gbm, whose other settings it gets
    Path(new).write_text(MODEL)
    replayed = said("replay", where, "--model", new)["comparison"]
    assert replayed == _plain(fraud.replay(new).as_json()["comparison"])
    whatif = fraud.whatif("quick")
    assert isinstance(whatif.schedule, Schedule)
    told = said("whatif", where, "--schedule", "quick")
    assert orjson.loads(orjson.dumps(told["what_if"])) == _plain(whatif.as_json()["what_if"])


def _plain(value):
    from rdv.analysis.statistics import plain

    raw = lambda one: orjson.Fragment(bytes(one))  # noqa: E731  msgspec.Raw is JSON already
    return orjson.loads(orjson.dumps(plain(value), default=raw))


def test_a_schedule_may_be_an_object_a_file_or_a_name(directory, fraud):
    by_name = fraud.whatif("quick").as_json()["what_if"]
    path = str(directory / "schedules" / "quick.toml")
    assert fraud.whatif(path).as_json()["what_if"] == by_name
    assert fraud.whatif(INLINE).schedule.sla_ms == 20
    assert fraud.whatif(PRODUCTION).schedule is PRODUCTION
    with pytest.raises(rdv.RdvError):
        fraud.whatif("nope")
    with pytest.raises(rdv.RdvError):
        fraud.whatif({"sla_ms": -1})


STUDIES = {
    "explain": lambda fraud: fraud.explain(fraud.requests().head(1).column("id")[0].as_py()),
    "whatif": lambda fraud: fraud.whatif("quick"),
    "compare": lambda fraud: fraud.compare("gbm", "logit"),
    "optimise": lambda fraud: fraud.optimise(tries=50),
    "verify": lambda fraud: fraud.verify(),
    "replay": lambda fraud: fraud.replay("rules"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_notebook_shows_a_study_as_a_report(fraud, name):
    """Charts are SVG; there are no scripts and no foreign hosts, and its style stays inside."""
    html = STUDIES[name](fraud)._repr_html_()
    assert html.startswith("<div>")
    assert html.count("<style") == 1
    assert "<style>@scope{" in html
    lowered = html.lower()
    assert "<script" not in lowered
    assert "javascript:" not in lowered
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import""", lowered)
    if name in ("explain", "whatif", "compare", "optimise"):
        assert "<svg" in html
    assert "<h1>" in html
    assert "<table>" in html


def test_the_waterfall_of_explain_has_a_bar_for_each_report(fraud, joined):
    row = next(row for row in range(COUNT) if (joined.outcome[:, row] == 1).all())
    found = fraud.explain(joined.id(row))
    html = found._repr_html_()
    for model in MODELS:
        assert f">{model}<" in html
    assert found.request.id in html


def test_a_model_is_replayed(directory, fraud, tmp_path):
    found = fraud.replay("rules")
    assert found.replayed.requests == COUNT
    new = tmp_path / "new.py"
    new.write_text(MODEL.replace("0.25", "0.5"))
    found = fraud.replay(str(new))
    assert (found.replayed.name, found.replayed.results) == ("new", COUNT)
    for wrong in ({"model": "nope"}, {}, {"model": "rules", "speed": 0}, {"name": "nope"}):
        with pytest.raises(rdv.RdvError):
            fraud.replay(**wrong)
    assert fraud.replay(str(new), name="gbm").replayed.name == "gbm"


def test_a_decision_without_a_log_says_so(tmp_path):
    directory = tmp_path / "fraud"
    make(directory, 1)
    for name in ("input", "scores", "results", "control"):
        subprocess.run(["rm", "-r", str(directory / name)], check=True)
    fraud = rdv.open(directory)
    before = files(directory)
    with pytest.raises(rdv.RdvError, match="record"):
        fraud.scores()
    with pytest.raises(rdv.RdvError, match="record"):
        len(fraud.requests())
    assert files(directory) == before
    with pytest.raises(rdv.RdvError):
        rdv.open(tmp_path / "nowhere")


def test_memory_is_bounded_by_a_batch(tmp_path, monkeypatch):
    """A batch has the requests of one interval, however many are recorded."""
    monkeypatch.setattr("rdv.api.tables.BATCH_REQUESTS", 200)
    fraud = rdv.open(make(tmp_path / "fraud", 1_000))
    rows = [batch.num_rows for batch in fraud.joined().batches()]
    assert sum(rows) == 1_000
    assert max(rows) <= 500


def test_what_is_recorded_later_is_in_a_table_that_is_used_again(tmp_path):
    fraud = rdv.open(make(tmp_path / "fraud", 20))
    table = fraud.outcomes()
    assert len(table) == 0
    fraud.record_outcomes([(fraud.requests().head(1).column("id")[0].as_py(), "x")])
    assert len(table) == 1


def test_an_open_decision_needs_no_running_one(fraud, directory):
    assert fraud.directory == os.path.abspath(directory)
    assert fraud.settings.models.keys() == set(MODELS)
    assert "fraud" in repr(fraud)
