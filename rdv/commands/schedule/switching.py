"""Make a schedule live in a running decision: write it, and wait for the server's report."""

from __future__ import annotations

import time
from collections.abc import Callable

from rdv.commands.errors import NotLive
from rdv.decision import Decision
from rdv.decision.accepted import allow_schedule, errors_of, read_published
from rdv.errors import RdvError
from rdv.rendezvous.schedule import Schedule
from rdv.stream import Consumer, open_stream
from rdv.stream.passing import pass_over

PATIENCE_S = 15.0
SCHEDULE_TOPIC = "schedule"


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
        if not _hear(consumer, schedule, begin_s + PATIENCE_S):
            raise NotLive(schedule.label, PATIENCE_S, _faults(decision.directory))
        return (time.monotonic() - begin_s) * 1e3


def _faults(directory: str) -> tuple[str, ...]:
    """Return the faults of edits that the supervisor could not put in force."""
    try:
        return read_published(directory).faults
    except RdvError:
        return ()


def _hear(consumer: Consumer, schedule: Schedule, end_s: float) -> bool:
    import orjson

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
                said = line["name"], line["hash"], line.get("live", True)
                if said == (schedule.name, schedule.content_hash, True):
                    return True
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
    return False
