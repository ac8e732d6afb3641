"""Make an edit live in a running decision: write it, and wait for the server's report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from rdv.decision.accepted import allow_schedule, errors_of, read_published
from rdv.decision.decision import Decision
from rdv.errors import ConflictFault, RdvError
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import COHORTS_TOPIC, SCHEDULE_TOPIC, STATUS_TOPIC
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

    def is_live(line: dict[str, Any]) -> bool:
        reported = line["name"], line["hash"], line.get("live", True)
        return reported == (schedule.name, schedule.content_hash, True)

    return _write_and_wait(decision, SCHEDULE_TOPIC, schedule.label, write, is_live)


def switch_cohort(
    decision: Decision, name: str, share: float | None, write: Callable[[], object]
) -> float:
    """Call `write` to change a cohort; return after how many ms a server reported its share.

    `share` None: a server reports cohorts without it. Raises NotLive, what `write` raises, and the
    log's SystemFaults.
    """

    def is_so(line: dict[str, Any]) -> bool:
        cohort = line["cohorts"].get(name)
        return (None if cohort is None else cohort["share"]) == share

    return _write_and_wait(decision, COHORTS_TOPIC, f"cohort {name}", write, is_so)


def await_processes(decision: Decision) -> bool:
    """Wait until each proxy and server has reported its status twice, about two seconds.

    So that all of them have taken an edit over that one server has reported. Returns False if some
    has not reported in time: it is dead or stopped. Raises the log's SystemFaults.
    """
    roles = {"proxy": decision.http.proxies, "server": decision.server.instances}
    seen: dict[tuple[str, str], int] = {}

    def is_enough(line: dict[str, Any]) -> bool:
        if line["role"] in roles:
            process = line["role"], line["name"]
            seen[process] = seen.get(process, 0) + 1
        twice = [role for (role, _), count in seen.items() if count > 1]
        return all(twice.count(role) >= count for role, count in roles.items())

    with _news(decision, STATUS_TOPIC) as consumer:
        return _is_reported(consumer, is_enough, time.monotonic() + TIMEOUT_S)


def _write_and_wait(
    decision: Decision,
    topic: str,
    what: str,
    write: Callable[[], object],
    is_so: Callable[[dict[str, Any]], bool],
) -> float:
    with _news(decision, topic) as consumer:
        begin_s = time.monotonic()
        write()
        if not _is_reported(consumer, is_so, begin_s + TIMEOUT_S):
            raise NotLive(what, TIMEOUT_S, _faults(decision.directory))
        return (time.monotonic() - begin_s) * 1e3


@contextlib.contextmanager
def _news(decision: Decision, topic: str) -> Iterator[Consumer]:
    """Yield a reader of what is appended to a topic of `control` from now on."""
    with (
        open_stream(decision.stream_path("control"), create=False) as control,
        control.consumer([topic], start="latest") as consumer,
    ):
        yield consumer


def _faults(directory: str) -> tuple[str, ...]:
    """Return the faults of edits that the supervisor could not put in force."""
    try:
        return tuple(fault.text for fault in read_published(directory).faults)
    except RdvError:
        return ()


def _is_reported(consumer: Consumer, is_so: Callable[[dict[str, Any]], bool], end_s: float) -> bool:
    """Wait for a line of which `is_so` is true; return False if none has come by `end_s`."""
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            records = consumer.poll(100, left_s)
        except RdvError as error:
            if not pass_over(consumer, error):
                raise
            continue
        for record in records:
            try:
                if is_so(orjson.loads(record.value)):
                    return True
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                continue
    return False
