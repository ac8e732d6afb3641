"""Check that edits of rdv.toml change what was meant and nothing else."""

import fcntl
import os
import stat
import subprocess
import sys
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdv.decision import (
    DecisionBusy,
    EditRefused,
    InvalidDecision,
    InvalidModelName,
    ModelConfig,
    ModelExists,
    ModelNotFound,
    ScheduleNotFound,
    add_model,
    default_text,
    load_decision,
    remove_model,
    replace_schedule,
    set_live_schedule,
)
from rdv.decision import edit as edit_module

WRITTEN = """\
# Ours. Ask Ann before you touch it.
name = "fraud"   # do not rename
schedule = "production"   # since March

# the champion
[models.mlp]
path = "models/mlp.py"
# a big one
batch_max = 128

# --- challengers ---

[models.logit]   # cheap
command = [
  "sh",
  "x.sh",
]

# what we had before
[models."old.one"]
path = "o.py"

[http]
port = 9000
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "schedules").mkdir()
    for name in ("production", "ab"):
        (tmp_path / "schedules" / f"{name}.toml").write_text("")
    (tmp_path / "rdv.toml").write_text(WRITTEN)
    return tmp_path


def text(place):
    return (place / "rdv.toml").read_text()


def test_another_schedule(place):
    assert set_live_schedule(str(place), "ab").schedule == "ab"
    assert text(place) == WRITTEN.replace('schedule = "production" ', 'schedule = "ab" ')
    set_live_schedule(str(place), "production")
    assert text(place) == WRITTEN


def test_a_default_that_is_shown_becomes_live(place):
    (place / "rdv.toml").write_text(default_text("x"))
    set_live_schedule(str(place), "ab")
    assert text(place) == default_text("x").replace('#schedule = "production"', 'schedule = "ab"')


@pytest.mark.parametrize("written", ["", "[http]\nport = 1\n", 'name = "x"\r\n[http]\r\n'])
def test_a_missing_schedule_is_put_on_top(place, written):
    (place / "rdv.toml").write_bytes(written.encode())
    assert set_live_schedule(str(place), "ab").schedule == "ab"
    assert (place / "rdv.toml").read_bytes() == b'schedule = "ab"\n' + written.encode()


def test_only_an_existing_schedule_can_be_made_live(place):
    with pytest.raises(ScheduleNotFound, match="there are: ab, production"):
        set_live_schedule(str(place), "challenger")
    assert text(place) == WRITTEN


def test_adding_a_model(place):
    decision = add_model(str(place), "gbm", ModelConfig(command=["Rscript", "g.R"], instances=2))
    assert decision.models["gbm"].instances == 2
    added = '\n[models.gbm]\ncommand = ["Rscript", "g.R"]\ninstances = 2\n'
    assert text(place) == WRITTEN + added
    with pytest.raises(ModelExists, match="rdv model rm"):
        add_model(str(place), "gbm", ModelConfig(path="x.py"))
    remove_model(str(place), "gbm")
    assert text(place) == WRITTEN


def test_removing_a_model(place):
    assert list(remove_model(str(place), "logit").models) == ["mlp", "old.one"]
    start, end = WRITTEN.index("[models.logit]"), WRITTEN.index("# what we had")
    assert text(place) == WRITTEN[:start].rstrip("\n") + "\n\n" + WRITTEN[end:]
    remove_model(str(place), "old.one")
    remove_model(str(place), "mlp")
    assert load_decision(str(place)).models == {}
    for kept in ("# Ours.", "# do not rename", "# --- challengers ---", "# what we had", "port"):
        assert kept in text(place)
    with pytest.raises(ModelNotFound, match="there are: none"):
        remove_model(str(place), "mlp")


def test_an_invalid_model_changes_nothing(place):
    with pytest.raises(InvalidDecision, match="needs one of"):
        add_model(str(place), "x", ModelConfig())
    with pytest.raises(InvalidModelName, match="cannot be the name of a model"):
        add_model(str(place), "a/b", ModelConfig(path="x.py"))
    assert text(place) == WRITTEN


@pytest.mark.parametrize(
    "written",
    [
        'models = { a = { path = "a.py" } }\n',
        'models.a.path = "a.py"\n',
        'name = "x"\nmodels.a = { path = "a.py" }\n[http]\n',
    ],
)
def test_what_only_a_person_should_edit_is_left(place, written):
    (place / "rdv.toml").write_text(written)
    with pytest.raises(EditRefused, match="by hand"):
        remove_model(str(place), "a")
    assert text(place) == written


def test_an_odd_schedule_line_is_not_guessed_at(place):
    written = 'schedule = """\\\n  production"""\n'
    (place / "rdv.toml").write_text(written)
    with pytest.raises(EditRefused):
        set_live_schedule(str(place), "ab")
    assert text(place) == written


def test_a_broken_file_is_not_edited(place):
    (place / "rdv.toml").write_text("schedul = 3\n")
    with pytest.raises(InvalidDecision, match="schedul"):
        set_live_schedule(str(place), "ab")


def test_the_file_keeps_its_mode_and_its_link(place):
    real = place / "real.toml"
    os.rename(place / "rdv.toml", real)
    os.chmod(real, 0o640)
    os.symlink("real.toml", place / "rdv.toml")
    set_live_schedule(str(place), "ab")
    assert os.path.islink(place / "rdv.toml")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(os.listdir(place)) == ["rdv.toml", "real.toml", "schedules"]


def test_edits_follow_one_another(place, monkeypatch):
    monkeypatch.setattr(edit_module, "BUSY_TIMEOUT_MS", 50)
    fd = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(DecisionBusy):
            set_live_schedule(str(place), "ab")
    finally:
        os.close(fd)
    set_live_schedule(str(place), "ab")


ODD = [
    ("schedule = 'production'", 'schedule = "ab"'),
    ('"schedule"   =   "production"  #  x', '"schedule"   =   "ab"  #  x'),
    ("\t'schedule'\t=\t'production'\t# x\r", "\t'schedule'\t=\t\"ab\"\t# x\r"),
    ('# schedule = "fast"', 'schedule = "ab"'),
]


@pytest.mark.parametrize(("line", "edited"), ODD)
def test_a_schedule_keeps_its_key_its_spaces_and_its_comment(place, line, edited):
    rest = "\n\n# [models.x]\n[http]\r\n  port = 0x2000 # hex\nhosts = [\n  'a', # one\n]\n"
    (place / "rdv.toml").write_bytes((line + rest).encode())
    set_live_schedule(str(place), "ab")
    assert (place / "rdv.toml").read_bytes().decode() == edited + rest


def test_tables_that_are_apart_are_edited(place):
    apart = "[models.a]\npath = 'a.py'\n\n[http]\nport = 1\n\n[models.b]\npath = 'b.py'\n"
    (place / "rdv.toml").write_text(apart)
    remove_model(str(place), "b")
    assert text(place) == apart[: apart.index("\n[models.b]")]
    remove_model(str(place), "a")
    assert text(place) == apart[apart.index("\n[http]") : apart.index("\n[models.b]")]


def test_edits_alone_import_the_toml_editor():
    script = (
        "import sys, rdv.decision, rdv.serve.supervisor.supervisor; print('tomlkit' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"False\n"


def is_written_without_one_piece(found, written):
    """Return whether `found` is `written` without one run of characters (and blank last lines)."""
    found = found.rstrip()
    start = next((n for n, (a, b) in enumerate(zip(found, written, strict=False)) if a != b), None)
    start = len(found) if start is None else start
    return written.rstrip().endswith(found[start:])


blocks = st.lists(
    st.sampled_from(
        [
            "# a comment\n",
            "\n",
            '[models.a]\npath = "a.py"\n',
            "[models.'b']\npath = 'b.py' # b\n\n# after b\n",
            '[ models . "c.d" ]\ncommand = ["x", "[models.a]"]\nversion = """\n[models.b]\n"""\n',
            "[server]\ninstances = 2\n",
            "[cohorts.t]\nshare = 0.1\nschedule = 'ab'\n",
        ]
    ),
    unique=True,
    max_size=7,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    blocks,
    st.sampled_from(["", "schedule = 'production'\n", "#schedule = 'production'\n"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_edit_changes_what_was_meant_or_nothing(place, parts, head, ending):
    written = (head + "".join(parts)).replace("\n", ending)
    path = place / "rdv.toml"
    for name in tomllib.loads(written).get("models", {}):
        path.write_bytes(written.encode())
        try:
            remove_model(str(place), name)
        except EditRefused:
            assert path.read_bytes().decode() == written
            continue
        found = path.read_bytes().decode()
        assert is_written_without_one_piece(found, written)
        old, new = tomllib.loads(written), tomllib.loads(found)
        old["models"].pop(name)
        assert {**new, "models": new.get("models", {})} == old
    path.write_bytes(written.encode())
    add_model(str(place), "new", ModelConfig(path="n.py"))
    assert path.read_bytes().decode().startswith(written.rstrip())
    assert (ending in path.read_bytes().decode()) or not written
    set_live_schedule(str(place), "ab")
    remove_model(str(place), "new")
    old, new = tomllib.loads(written), tomllib.loads(path.read_text())
    assert {"models": {}, **new} == {"models": {}, **old, "schedule": "ab"}
    comments = [line for line in written.splitlines() if line.startswith("# ")]
    assert all(line in path.read_text() for line in comments)


def test_a_schedule_is_replaced_only_as_it_was_seen(place):
    path = os.path.join(place, "schedules", "production.toml")
    with open(path) as file:
        old = file.read()
    replace_schedule(place, "production", old, "# another\r\n")
    with open(path, newline="") as file:
        assert file.read() == "# another\r\n"
    with pytest.raises(EditRefused, match="edited meanwhile"):
        replace_schedule(place, "production", old, "# a third\n")
    with open(path, newline="") as file:
        assert file.read() == "# another\r\n"
    with pytest.raises(ScheduleNotFound):
        replace_schedule(place, "nowhere", old, old)
