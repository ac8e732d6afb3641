"""Check that `init_decision` creates a complete decision, or nothing at all."""

import json
import os
import stat
import subprocess
import sys
import tomllib

import orjson
import pytest

from rdv.decision import (
    DirectoryNotEmpty,
    TemplateNeeds,
    TrainingFailed,
    UnknownTemplate,
    init_decision,
    load_decision,
    missing_files,
    schedule_names,
    template_names,
)
from rdv.decision import init as init_module
from rdv.decision import template as template_module
from rdv.decision.template import asset_directory
from rdv.models import open_model

SCHEDULES = ("ab", "champion-only", "fast-first", "production", "qa-challenger")


@pytest.fixture(scope="module", params=["fraud", "digits"])
def made(request, trained):
    report = trained.report(request.param)
    return request.param, report.directory, report


def read_requests(place):
    with open(os.path.join(place, "requests.jsonl"), "rb") as file:
        return [orjson.loads(line) for line in file]


def test_what_templates_there_are():
    assert template_names() == ("ads", "digits", "fraud", "recommend", "retail")


def test_it_is_complete(made):
    template, place, report = made
    decision = load_decision(place)
    assert decision.name == template
    assert missing_files(decision) == []
    assert schedule_names(place) == SCHEDULES
    assert [model.name for model in report.models] == list(decision.models)
    assert [model.role for model in report.models] == ["champion", "challenger", "fallback"]
    assert report.next_commands[0][0] == f"rdv serve {place}"
    with open(os.path.join(place, "README.md")) as file:
        readme = file.read()
    assert "@" not in readme
    assert f"| {report.models[0].name} | champion | {report.models[0].value:.4f} |" in readme
    assert not [name for name in os.listdir(place) if name.startswith(".")]
    assert stat.S_IMODE(os.stat(place).st_mode) & 0o500 == 0o500


def test_the_better_is_the_slower(made):
    _, _, report = made
    values = [model.value for model in report.models]
    costs = [model.row_ms for model in report.models]
    assert values == sorted(values, reverse=True)
    assert costs[0] > costs[2]


def test_the_models_are_as_good_as_promised(made):
    template, _, report = made
    least = {"fraud": (0.93, 0.87, 0.78), "digits": (0.985, 0.94, 0.88)}[template]
    assert report.held_out >= 500
    for model, value in zip(report.models, least, strict=True):
        assert value < model.value < 1


def test_every_model_answers_the_sample_requests(made):
    template, place, _ = made
    decision = load_decision(place)
    rows = read_requests(place)
    assert all(set(row) == {"data", "key", "truth"} for row in rows)
    for name, config in decision.models.items():
        model = open_model(place, name, **config.opening())
        outcomes = model.predict([row["data"] for row in rows[:64]])
        answers = [orjson.loads(outcome) for outcome in outcomes]
        assert model.predict([rows[3]["data"]]) == [outcomes[3]] or template == "fraud"
        assert model.version
        if template == "digits":
            right = sum(a["bin"] == r["truth"]["bin"] for a, r in zip(answers, rows, strict=False))
            assert right >= 50
        else:
            assert all(0 <= answer["score"] <= 1 for answer in answers)
            assert {a["action"] for a in answers} <= {"accept", "review", "decline"}
        model.close()


def test_a_bad_row_spoils_no_other(made):
    _, place, _ = made
    good = read_requests(place)[0]["data"]
    for name, config in load_decision(place).models.items():
        model = open_model(place, name, **config.opening())
        outcomes = model.predict([good, {"amount": "a lot", "pixels": [1]}, good, "nonsense"])
        assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, True, False]
        model.close()


def test_the_schedules_speak_of_its_models(made):
    template, place, _ = made
    decision = load_decision(place)
    for name in SCHEDULES:
        with open(decision.schedule_path(name), "rb") as file:
            schedule = tomllib.load(file)
        assert_valid(schedule, set(decision.models))
        assert schedule["sla_ms"] == {"fraud": 50, "digits": 100}[template]
        expected = {"fraud": {"score": 0.0, "action": "review"}, "digits": {"bin": "manual"}}
        assert schedule["default"] == expected[template]


def assert_valid(schedule, models):
    """Check a schedule against DESIGN 7; the engine's own linter checks it again."""
    assert set(schedule) == {"sla_ms", "default", "step"}
    ends = [step.get("until_ms", schedule["sla_ms"]) for step in schedule["step"]]
    assert ends == sorted(set(ends))
    assert ends[-1] <= schedule["sla_ms"]
    for step in schedule["step"]:
        assert set(step) <= {"accept", "until_ms"}
        assert set(step["accept"]) <= models | {"*"}


def test_the_example_schedules_are_valid_as_they_lie():
    place = asset_directory("schedules")
    names = sorted(name for name in os.listdir(place) if name.endswith(".toml"))
    assert len(names) == 5
    for name in names:
        with open(os.path.join(place, name), "rb") as file:
            assert_valid(tomllib.load(file), {"champion", "challenger", "fast"})


def test_a_question_with_few_fields_is_answered(made):
    template, place, _ = made
    if template == "fraud":
        for name, config in load_decision(place).models.items():
            model = open_model(place, name, **config.opening())
            assert isinstance(model.predict([{"amount": 12.5}])[0], bytes)


def test_the_shell_model_of_fraud(made):
    template, place, _ = made
    if template == "fraud":
        model = open_model(place, "limit", command=["sh", "models/limit.sh"])
        rows = [b'{"amount":912.5}', b'{"user":"x"}', b'{"amount":4}']
        actions = [orjson.loads(outcome)["action"] for outcome in model.predict(rows)]
        assert actions == ["review", "accept", "accept"]
        model.close()


def test_training_and_generating_again_gives_the_same(made, trained, tmp_path):
    template, _, report = made
    if template == "fraud":
        place = str(trained.copy(template, tmp_path / "again"))
        before = read_requests(place)
        versions = [open_model(place, n, path=f"models/{n}.py").version for n in ("mlp", "logit")]
        run = [sys.executable, "-B", "models/train.py"]
        done = subprocess.run(run, cwd=place, capture_output=True, check=True)
        values = [model["value"] for model in json.loads(done.stdout)["models"]]
        assert values == pytest.approx([model.value for model in report.models], abs=1e-3)
        assert read_requests(place) == before
        assert versions[0].startswith("mlp-")
        run = [sys.executable, "-B", "models/generate.py", "--n", "3", "--seed", "3"]
        done = subprocess.run(run, cwd=place, capture_output=True, check=True)
        assert len(done.stdout.splitlines()) == 3


def fake_training(monkeypatch, code):
    """Replace the training, which the fixture above has run, by a shell script."""
    monkeypatch.setattr(init_module.sys, "executable", "/bin/sh")
    real = init_module.run_program

    def run(command, **options):
        return real(["/bin/sh", "-c", code], **options)

    monkeypatch.setattr(init_module, "run_program", run)


SAYS = """echo '{"metric":"AUC","held_out":1,"models":[]}'"""


def test_a_directory_with_something_in_it_is_refused(tmp_path, monkeypatch):
    fake_training(monkeypatch, SAYS)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DirectoryNotEmpty, match=r"notes\.txt"):
        init_decision(str(tmp_path))
    (tmp_path / "notes.txt").rename(tmp_path / ".rdv")
    with pytest.raises(DirectoryNotEmpty):
        init_decision(str(tmp_path))
    assert os.listdir(tmp_path) == [".rdv"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(Exception, match="cannot list"):
        init_decision(str(tmp_path / "x"))


def test_dotfiles_are_left_alone(tmp_path, monkeypatch):
    fake_training(monkeypatch, SAYS)
    (tmp_path / ".git").mkdir()
    os.symlink(tmp_path, tmp_path / ".link")
    init_decision(str(tmp_path / ".link"))
    assert sorted(os.listdir(tmp_path)) == [
        ".git", ".link", "README.md", "models", "rdv.toml", "schedules",
    ]  # fmt: skip


def test_parents_and_odd_names(tmp_path, monkeypatch):
    fake_training(monkeypatch, SAYS)
    place = tmp_path / "a" / "my decision"
    report = init_decision(str(place))
    assert report.next_commands[0][0] == f"rdv serve '{place}'"
    assert load_decision(str(place)).name == "my decision"
    assert os.listdir(tmp_path / "a") == ["my decision"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("echo no; echo ValueError: bad >&2; exit 1", "ValueError: bad"),
        ("exit 3", "ended with 3"),
        ("echo nothing", "the last line of train.py is not its report"),
    ],
)
def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch, code, reason):
    fake_training(monkeypatch, code)
    with pytest.raises(TrainingFailed, match=reason):
        init_decision(str(tmp_path / "new"))
    assert os.listdir(tmp_path) == []
    with pytest.raises(TrainingFailed):
        init_decision(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_training_knows_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("OPERATORS_PASSWORD", "hunter2")
    fake_training(monkeypatch, 'echo "password: $OPERATORS_PASSWORD." >&2; exit 1')
    with pytest.raises(TrainingFailed, match=r"password: \."):
        init_decision(str(tmp_path / "new"))


def test_an_unknown_template(tmp_path):
    with pytest.raises(UnknownTemplate, match="ads, blank, digits, fraud, recommend, retail"):
        init_decision(str(tmp_path / "x"), "frauds")


def test_a_missing_library_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(template_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TemplateNeeds) as caught:
        init_decision(str(tmp_path / "x"), "digits")
    assert "pip install 'rdv[sklearn]'" in str(caught.value)
    assert os.listdir(tmp_path) == []
