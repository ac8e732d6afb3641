"""Check the worker's note, which is written late: it never blames a batch that was reported,
whatever ends the worker.
"""

from __future__ import annotations

import msgspec
import pytest

from rdv.rendezvous.backlog import Waiting
from rdv.rendezvous.messages import Request
from rdv.serve.worker.crash_record import CrashRecord, Unfinished
from rdv.serve.worker.main import WorkerProcess
from rdv.serve.worker.worker import Worker
from rdv.stream import Record
from rdv.stream.record import Block


class Anything:
    """Accept every method call, and do nothing."""

    def __init__(self, **own):
        self.__dict__.update(own)

    def __getattr__(self, name):
        return lambda *_, **__: None


def waiting(number):
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    return Waiting(request, Block.of([Record("p", 0, 0, 1, b"")]), 0, 0, 0)


class Crash(Exception):
    pass


def crash(*_):
    raise Crash


class NoBacklog(Anything):
    def __len__(self):
        return 0


def worker_with(note, **parts):
    worker = object.__new__(Worker)
    worker._crash_record = note
    worker._backlog = NoBacklog()
    for name in ("requests", "reports", "_model"):
        setattr(worker, name, parts.get(name, Anything()))
    return worker


@pytest.mark.parametrize("part", ["_model", "reports", "requests"])
def test_a_process_that_ends_while_closing_has_nothing_in_flight(tmp_path, part):
    path = str(tmp_path / "note")
    note = CrashRecord(path)
    note.take([waiting(1)])
    note.done()
    with pytest.raises(Crash):
        worker_with(note, **{part: Anything(close=crash)}).finish()
    assert CrashRecord(path).unfinished() == Unfinished(is_reported=False)


@pytest.mark.parametrize("is_done", [True, False])
def test_a_process_that_ends_in_a_batch_leaves_only_unreported_requests(tmp_path, is_done):
    """An intake that fails does so after the report; a model that fails does so before it."""
    path = str(tmp_path / "note")
    note = CrashRecord(path)
    note.take([waiting(1)])
    if is_done:
        note.done()
    process = object.__new__(WorkerProcess)
    process._is_alone = False
    process._ends_without_memory = False
    process._waker = Anything(stopping=False)
    process._status = process._watchdog = Anything()
    process._figures = dict
    process.worker = worker_with(note)
    process.worker.turn = crash
    with pytest.raises(Crash):
        process.run()
    left = CrashRecord(path).unfinished()
    assert left == Unfinished(() if is_done else ((0, "1"),), (), False)
