"""Check that edits of cohorts and schedules keep what a person wrote."""

from __future__ import annotations

import pytest

from rdv.decision import EditRefused, InvalidDecision, load_decision
from rdv.decision.edit import add_schedule, remove_cohort, remove_schedule, set_cohort

PLAIN = "# mine\nname = 'd' # why\n"
SALTED = '# mine\n[cohorts]\nsalt = "x" # why\n\n'
SALTED += '[cohorts.b] # an experiment\nshare = 0.5\nschedule = "b"\n'
WINDOWS = SALTED.replace("\n", "\r\n")
ENDLESS = PLAIN.rstrip()


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "rdv.toml").write_bytes(text.encode())
        return str(tmp_path)

    return write


def read(directory):
    with open(f"{directory}/rdv.toml", "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize("text", [PLAIN, SALTED, WINDOWS, ENDLESS, "", "[models]\n\n# end\n"])
def test_a_cohort_comes_grows_and_goes(write, text):
    directory = write(text)
    before = load_decision(directory, {}).cohorts.groups
    for share in (0.01, 0.1, 0.5):
        set_cohort(directory, "ramp-x.y", share, "ramp-x.y")
        groups = load_decision(directory, {}).cohorts.groups
        assert list(groups) == [*before, "ramp-x.y"]
        assert groups["ramp-x.y"].share == share
        assert read(directory).startswith(text.rstrip())
    remove_cohort(directory, "ramp-x.y")
    assert read(directory).rstrip() == text.rstrip()
    remove_cohort(directory, "ramp-x.y")


def test_a_comment_at_the_share_stays(write):
    directory = write(SALTED.replace("share = 0.5", "share = 0.5 # half"))
    set_cohort(directory, "b", 0.25, "b")
    assert "share = 0.25 # half\n" in read(directory)


def test_what_does_not_fit_is_refused(write):
    directory = write(SALTED)
    with pytest.raises(InvalidDecision, match="more than 1"):
        set_cohort(directory, "ramp", 0.6, "ramp")
    with pytest.raises(EditRefused, match="has the schedule 'b'"):
        set_cohort(directory, "b", 0.1, "another")
    assert read(directory) == SALTED
    directory = write('cohorts = { b = { share = 0.5, schedule = "b" } }\n')
    with pytest.raises(EditRefused):
        set_cohort(directory, "ramp", 0.1, "ramp")


def test_a_schedule_file_that_was_edited_is_not_removed(write, tmp_path):
    directory = write(PLAIN)
    add_schedule(directory, "ramp", "one")
    add_schedule(directory, "ramp", "one")
    with pytest.raises(EditRefused):
        add_schedule(directory, "ramp", "two")
    remove_schedule(directory, "ramp", "two")
    path = tmp_path / "schedules" / "ramp.toml"
    assert path.read_text() == "one"
    remove_schedule(directory, "ramp", "one")
    remove_schedule(directory, "ramp", "one")
    assert not path.exists()
