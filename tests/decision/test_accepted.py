"""Check that edits take effect where the files are valid, and that others change nothing."""

from __future__ import annotations

import itertools
import shutil

import pytest

from rdv.decision import Decision, load_decision
from rdv.decision.accepted import (
    accept_edit,
    accept_first,
    allow_schedule,
    changed_keys,
    publish,
    read_published,
    undeclared_models,
)
from rdv.errors import RdvError

SETTINGS = '[http]\nport = 9000\n[models.gbm]\npath = "models/gbm.py"\n'
MORE = SETTINGS + '[models.mlp]\npath = "models/mlp.py"\n'


def schedule(model="gbm", sla_ms=50):
    return f'sla_ms = {sla_ms}\ndefault = 0\n[[step]]\naccept = ["{model}", "*"]\n'


class Files:
    def __init__(self, root):
        self.root = root / "d"
        (self.root / "schedules").mkdir(parents=True)
        self.settings(SETTINGS)
        self.schedule(schedule())

    def settings(self, text):
        (self.root / "rdv.toml").write_text(text)

    def schedule(self, text, name="production"):
        (self.root / "schedules" / f"{name}.toml").write_text(text)

    def first(self):
        return accept_first(load_decision(str(self.root), {}))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.delenv("RDV_CONSOLE_ENABLED", raising=False)
    return Files(tmp_path)


@pytest.mark.parametrize("text", ["[http", "[http]\nport = 0\n", "[models.gbm]\n", "\xff" * 9])
def test_an_invalid_file_keeps_the_settings_and_is_named(files, text):
    before = files.first()
    files.settings(text)
    now = accept_edit(before)
    assert now.is_same(before)
    assert len(now.faults) == 1
    assert "rdv.toml" in now.faults[0].text
    files.settings(MORE)
    again = accept_edit(now)
    assert list(again.decision.models) == ["gbm", "mlp"]
    assert again.faults == ()


@pytest.mark.parametrize("text", ["", "\n", "[http]\nport = 9000\n", "# [models.gbm]\n"])
@pytest.mark.parametrize("accepts", ["gbm", "*"])
def test_a_file_that_is_half_written_takes_no_models_away(files, text, accepts):
    files.schedule(schedule().replace('["gbm", "*"]', f'["{accepts}"]'))
    before = files.first()
    files.settings(text)
    now = accept_edit(before)
    assert now.is_same(before)
    assert now.faults[0].code == "model-unknown"
    assert "half written" in now.faults[0].text
    files.settings(MORE)
    assert accept_edit(now).faults == ()


def test_the_models_of_a_schedule_can_all_be_replaced(files):
    files.schedule(schedule().replace(', "*"', ""))
    before = files.first()
    files.settings('[models.mlp]\npath = "models/mlp.py"\n')
    now = accept_edit(before)
    assert "half written" in now.faults[0].text
    files.schedule(schedule("mlp"))
    now = accept_edit(now)
    assert list(now.decision.models) == ["mlp"]
    assert now.live.steps[0].accept[0] == "mlp"
    assert now.faults == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (schedule("mpl"), ("model-unknown", "no model 'mpl'")),
        ("sla_ms = 50\n[[step]]\naccept = ['gbm']\n", ("default-missing", "there is none")),
        ("sla_ms = -1", ("invalid_schedule", "sla_ms")),
        ("", ("invalid_schedule", "sla_ms")),
        ("\0", ("invalid_schedule", "TOML")),
    ],
)
def test_a_schedule_with_an_error_keeps_its_last_version(files, text, said):
    before = files.first()
    files.schedule(text)
    now = accept_edit(before)
    assert now.live == before.live
    assert len(now.faults) == 1
    (fault,) = now.faults
    code, words = said
    assert (fault.code, fault.about) == (code, str(files.root / "schedules" / "production.toml"))
    assert words in fault.text
    files.schedule(schedule(sla_ms=60))
    assert accept_edit(now).live.sla_ms == 60
    assert accept_edit(now).faults == ()


EDITS = {
    "rdv.toml": lambda files: files.settings('schedule = "new"\n' + MORE),
    "live": lambda files: files.schedule(schedule("mlp", 70)),
    "new": lambda files: files.schedule(schedule("mlp", 80), "new"),
}


@pytest.mark.parametrize("order", list(itertools.permutations(EDITS)))
def test_edits_that_need_each_other_converge_in_any_order(files, order):
    now = files.first()
    for name in order:
        EDITS[name](files)
        now = accept_edit(now)
        assert now.live
    assert now.faults == ()
    assert now.decision.schedule == "new"
    assert {name: s.sla_ms for name, s in now.schedules.items()} == {"new": 80, "production": 70}


def test_a_schedule_in_use_outlives_its_file(files):
    files.settings(SETTINGS + "[cohorts.b]\nshare = 0.5\nschedule = 'other'\n")
    files.schedule(schedule(sla_ms=70), "other")
    files.schedule(schedule(sla_ms=80), "unused")
    before = files.first()
    shutil.rmtree(files.root / "schedules")
    now = accept_edit(before)
    assert sorted(now.schedules) == ["other", "production"]
    assert len(now.faults) == 3


@pytest.mark.parametrize("line", ["schedule = 'nowhere'\n", ""])
def test_settings_that_name_no_schedule_are_not_taken_over(files, line):
    before = files.first()
    cohort = "[cohorts.b]\nshare = 0.5\nschedule = 'nowhere'\n"
    files.settings(line + MORE + ("" if line else cohort))
    now = accept_edit(before)
    assert now.decision == before.decision
    assert "'nowhere'" in now.faults[0].text
    files.schedule(schedule(), "nowhere")
    assert "mlp" in accept_edit(now).decision.models


def test_what_waits_for_the_next_start_is_kept_and_named(files):
    before = files.first()
    files.settings("partitions = 3\n" + MORE.replace("9000", "9001") + "[log]\nfsync = 'always'\n")
    now = accept_edit(before)
    assert now.pending == ("partitions", "http.port", "log.fsync")
    assert changed_keys(before.decision, now.decision) == ["models.mlp"]
    files.settings(MORE)
    assert accept_edit(now).pending == ()


def test_a_model_that_is_run_elsewhere_is_known(files):
    before = files.first()
    files.schedule(schedule("guest"))
    assert accept_edit(before).faults
    now = accept_edit(before, {"guest"})
    assert now.faults == ()
    assert undeclared_models(now) == {"guest"}
    assert accept_edit(now).live == now.live  # the model has left: what is in force stays


def test_a_schedule_that_was_allowed_by_force_is_accepted(files):
    before = files.first()
    files.schedule(schedule("guest"))
    assert accept_edit(before).live == before.live
    allow_schedule(str(files.root), files.first().live)
    now = accept_edit(before)
    assert now.faults == ()
    assert now.live != before.live


def test_another_directory_in_its_place_is_not_taken_over(files, tmp_path):
    before = files.first()
    files.root.rename(tmp_path / "old")
    other = Files(tmp_path)
    other.settings(MORE)
    now = accept_edit(before)
    assert now.is_same(before)
    assert "start rdv serve again" in now.faults[0].text


def test_what_is_published_is_what_is_read(files):
    files.settings("partitions = 2\n" + MORE + "[cohorts.b]\nshare = 0.5\nschedule = 'x'\n")
    files.schedule(schedule(sla_ms=12.5), "x")
    now = files.first()
    publish(now)
    read = read_published(str(files.root))
    assert read == now
    assert [read.schedules[n].label for n in read.schedules] == [
        s.label for s in now.schedules.values()
    ]


def test_nothing_published_is_an_error_with_a_name(files):
    with pytest.raises(RdvError, match=r"settings\.json"):
        read_published(str(files.root))


def test_the_enricher_has_a_stamp(files):
    (files.root / "models").mkdir()
    (files.root / "models" / "e.py").write_text("import helper\ndef enrich(d): return d\n")
    (files.root / "models" / "helper.py").write_text("x = 1\n")
    files.settings(
        "[http]\nenrich = 'models/e.py:enrich'\n" + SETTINGS.replace("[http]\nport = 9000\n", "")
    )
    before = files.first()
    assert accept_edit(before).is_same(before)
    (files.root / "models" / "helper.py").write_text("x = 2\n")
    assert not accept_edit(before).is_same(before)


def test_every_key_is_compared():
    assert changed_keys(Decision(), Decision(name="x", schedule="y", partitions=2)) == [
        "name",
        "schedule",
        "partitions",
    ]
