"""Check `rdv init` without a template: an empty decision, or one with the user's models."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdv.decision.init import schedule_text
from rdv.rendezvous.schedule import schedule_from_toml

MODEL = "def predict(rows):\n    return [{'churns': False} for row in rows]\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("churn.py").write_text(MODEL)
    Path("old-rules.py").write_text(MODEL)
    return tmp_path


def test_init_copies_own_models(rdv, here):
    default = '{"churns": false, "why": ["late", 1.5]}'
    made = rdv(
        "init", "shop", "--model", "churn=churn.py", "--model", "rules=old-rules.py",
        "--default", default, "--json",
    )  # fmt: skip
    assert (made.code, made.err) == (0, "")
    assert made.row()["models"] == {"churn": "models/churn.py", "rules": "models/rules.py"}
    assert Path("shop/models/rules.py").read_text() == MODEL
    shown = rdv("schedule", "show", "shop", "--json").row()
    assert shown["default"] == {"churns": False, "why": ["late", 1.5]}
    assert [step["accept"] for step in shown["step"]] == [["churn"], ["churn", "rules"], ["*"]]
    assert rdv("schedule", "check", "shop").out == "production: fine\n"
    listed = rdv("model", "ls", "shop", "--json").rows()
    assert [row["model"] for row in listed] == ["churn", "rules"]


def test_an_empty_decision_takes_a_model(rdv, here):
    made = rdv("init", "empty", "--template", "blank")
    assert (made.code, made.out.startswith("made empty: no models yet")) == (0, True)
    assert "rdv model add empty" in made.out
    assert rdv("schedule", "check", "empty").code == 1
    assert rdv("model", "add", "empty", "churn", "--path", "churn.py").code == 0
    assert rdv("schedule", "check", "empty").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "churn=churn.py"], 2, "--default"),
        (["--model", "churn"], 2, "NAME=FILE"),
        (["--model", "a=churn.py", "--model", "a=old-rules.py"], 2, "two models"),
        (["--model", "churn=none.py"], 3, "there is no file none.py"),
        (["--model", "churn=."], 3, "is not a model of mlflow"),
        (["--model", "../churn=churn.py"], 3, "name of a model"),
        (["--model", "churn=data.csv"], 3, "does not end in"),
        (["--template", "fraud", "--model", "churn=churn.py"], 2, "only with blank"),
        (["--template", "fraud", "--default", "{}"], 2, "only with blank"),
        (["--model", "churn=churn.py", "--default", "{"], 3, "--default"),
        (["--model", "churn=churn.py", "--default", '{"a": [null]}'], 3, "null"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(rdv, here, arguments, code, said):
    Path("data.csv").touch()
    given_default = [] if "--default" in arguments or code == 2 else ["--default", "{}"]
    refused = rdv("init", "shop", *arguments, *given_default)
    assert refused.code == code, refused.err
    assert said in refused.err
    assert not Path("shop").exists()
    assert not list(here.glob(".rdv-init*"))


def test_nothing_is_overwritten(rdv, here):
    Path("shop").mkdir()
    Path("shop/mine").write_text("kept")
    assert rdv("init", "shop", "--template", "blank").code == 3
    assert [path.name for path in Path("shop").iterdir()] == ["mine"]


JSON = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON)
def test_any_default_reads_back_as_it_was(default):
    schedule = schedule_from_toml(schedule_text(["a", "b.c"], default), "production", "x.toml")
    assert schedule.default == default
    assert [list(step.accept) for step in schedule.steps] == [["a"], ["a", "b.c"], ["*"]]
