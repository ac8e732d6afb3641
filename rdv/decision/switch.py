"""Make a schedule live in a running decision: write it, and wait for the server's report."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from rdv.decision.accepted import allow_schedule, errors_of, read_published
from rdv.decision.decision import Decision
from rdv.errors import ConflictFault, RdvError
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import SCHEDULE_TOPIC
from rdv.stream import Consumer, open_stream, pass_over

TIMEOUT_S = 15.0
"""How long to wait for a server's report, in seconds."""


class NotLive(ConflictFault):
    """A schedule was written, but no server has reported it as live; `faults` may say why."""

    schedule: str
    waited_s: float
    faults: tuple[str, ...] = ()

    def text(self) -> str:
        why = f": {'; '.join(self.faults)}" if self.faults else ""
        return (
            f"{self.schedule} is written, but no server has reported within {self.waited_s:g} s "
            f"that it is live{why}"
        )

    _hint = "As far as is known, the earlier schedule still applies: see rdv status."


def switch(decision: Decision, schedule: Schedule, write: Callable[[], object]) -> float:
    """Call `write` to make the change; return after how many ms a server reported the schedule as
    live.

    A schedule in which the linter finds errors is allowed: the caller has decided so. Raises
    NotLive, what `write` raises, and the log's SystemFaults.
    """
    if errors_of(schedule, decision):
        allow_schedule(decision.directory, schedule)
    with (
        open_stream(decision.stream_path("control"), create=False) as control,
        control.consumer([SCHEDULE_TOPIC], start="latest") as consumer,
    ):
        begin_s = time.monotonic()
        write()
        if not _is_reported(consumer, schedule, begin_s + TIMEOUT_S):
            raise NotLive(schedule.label, TIMEOUT_S, _faults(decision.directory))
        return (time.monotonic() - begin_s) * 1e3


def _faults(directory: str) -> tuple[str, ...]:
    """Return the faults of edits that the supervisor could not put in force."""
    try:
        return tuple(fault.text for fault in read_published(directory).faults)
    except RdvError:
        return ()


def _is_reported(consumer: Consumer, schedule: Schedule, end_s: float) -> bool:
    """Wait until a server reports the schedule as live; return False if none has by `end_s`."""
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            records = consumer.poll(100, left_s)
        except RdvError as error:
            if not pass_over(consumer, error):
                raise
            continue
        for record in records:
            try:
                line = orjson.loads(record.value)
                reported = line["name"], line["hash"], line.get("live", True)
                if reported == (schedule.name, schedule.content_hash, True):
                    return True
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
    return False
