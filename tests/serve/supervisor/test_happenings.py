"""Check the events that the supervisor derives from what processes report."""

from __future__ import annotations

import errno
import os

import pytest

from rdv.serve.supervisor.happenings import DiskWatch, Said, Troubles, end_event
from rdv.status.lines import SILENT_NS, StatusLine


def line(code="", text="", name="gbm-0"):
    fields = {"model": "gbm", "trouble": text, "trouble_code": code}
    return StatusLine("worker", name, 7, "ready", 1, fields)


def kinds(*codes):
    troubles = Troubles()
    return [[event.kind for event in troubles.changes(line(code, "x"))] for code in codes]


def test_a_breaker_opens_and_closes_once():
    found = kinds("", "model_unavailable", "model_unavailable", "", "")
    assert found == [[], ["breaker_opened"], [], ["breaker_closed"], []]
    (event,) = Troubles().changes(line("model_unavailable", "not asked for 5 s"))
    assert (event.message, event.about, event.model, event.pid) == (
        "gbm-0: not asked for 5 s", "gbm-0", "gbm", 7,
    )  # fmt: skip


def test_a_model_that_cannot_be_loaded_is_told_by_the_end_of_its_process_only():
    assert kinds("model_not_loaded", "", "model_not_loaded") == [[], [], []]


def test_other_trouble_begins_changes_and_is_over():
    found = kinds("model_failing", "model_hangs", "")
    assert found == [["trouble"], ["trouble_over", "trouble"], ["trouble_over"]]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["full", "quota"])
def test_the_disk_is_full_once_and_free_when_nobody_reports_it_any_more(number):
    disk = DiskWatch()
    text = f"cannot write the status: fraud/control: {os.strerror(number)} [status_not_written]"
    assert disk.line("p", "all is well", 0) is None
    assert disk.look(0) is None
    event = disk.line("p", text, 1)
    assert event is not None
    assert (event.kind, event.about) == ("disk_full", "p")
    assert disk.line("q", text, 2) is None
    assert disk.look(2 + SILENT_NS - 1) is None
    assert disk.look(2 + SILENT_NS).kind == "disk_free"
    assert disk.look(3 + SILENT_NS) is None
    assert disk.line("q", text, 4 + SILENT_NS).kind == "disk_full"


def test_the_last_line_of_a_traceback_is_its_error():
    def said_of(code):
        said = Said()
        lines = ("Traceback (most recent call last):", '  File "x.py"', "KeyError: 'a'", "  ^", "")
        for text in (*lines, "error: it cannot be loaded [model_not_loaded]"):
            said.add(text)
        found = said.why(code)
        assert said.why(code) == ""
        return found

    assert said_of(-9) == "error: it cannot be loaded [model_not_loaded]"
    said = said_of(3)
    assert said == "KeyError: 'a'"
    event = end_event("gbm-0", "part_ended", "it ended", 7, -9, said, 100.0)
    assert (event.signal, event.exit_code, event.last_line) == ("SIGKILL", None, said)
    assert end_event("gbm-0", "part_ended", "it ended", 7, -999, said, 0.0).signal == "999"
