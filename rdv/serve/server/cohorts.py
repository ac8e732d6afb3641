"""Records the cohorts: which were in force since when, for `rdv ab`."""

from __future__ import annotations

from typing import Any

import orjson

from rdv.decision.accepted import Accepted
from rdv.rendezvous.topology import COHORTS_TOPIC, SCHEDULE_TOPIC
from rdv.serve.feeds import Losses, read_all
from rdv.serve.outbox import Outbox
from rdv.stream import Stream
from rdv.stream.errors import WouldWait

READ_RECORDS = 1_000


def cohorts_in_force(accepted: Accepted) -> dict[str, Any]:
    """Return the salt, and for each cohort its share, its schedule's version and its models."""
    cohorts = accepted.decision.cohorts
    labels = {name: schedule.label for name, schedule in accepted.schedules.items()}
    return {
        "salt": cohorts.salt,
        "cohorts": {
            name: {
                "share": cohort.share,
                "schedule": labels.get(cohort.schedule, cohort.schedule),
                "models": list(cohort.models),
                **({"explore": cohort.explore} if cohort.explore else {}),
            }
            for name, cohort in cohorts.groups.items()
        },
    }


def record_cohorts(control: Stream, outbox: Outbox, accepted: Accepted, now_ns: int) -> None:
    """Record the cohorts in force and since when. A server does so at its start and after edits.

    The line repeats the earlier time if nothing has changed, because earlier lines may be deleted
    by retention. The log of an older rdv has no such lines; its cohorts count as old as the log.
    Raises WouldWait while the topic cannot be read yet, and SystemFaults.
    """
    last = _last_line(control)
    now = cohorts_in_force(accepted)
    if last is not None and {key: last.get(key) for key in now} == now:
        since_ns = last.get("since_ns", 0)
    elif last is None and _is_of_older_rdv(control):
        since_ns = 0
    else:
        since_ns = now_ns
    line = {"time_ns": now_ns, "since_ns": since_ns, **now}
    outbox.send(COHORTS_TOPIC, [orjson.dumps(line) + b"\n"], 0)


def _last_line(control: Stream) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None
    with control.consumer([COHORTS_TOPIC]) as consumer:
        if not consumer.assignment():
            raise WouldWait(f"{control.address}/{COHORTS_TOPIC}", "another process holds its lock")
        for record in read_all(consumer, READ_RECORDS, Losses()):
            try:
                line = orjson.loads(record.value)
            except orjson.JSONDecodeError:
                continue
            if isinstance(line, dict):
                found = line
    return found


def _is_of_older_rdv(control: Stream) -> bool:
    """Return whether the decision has been served already."""
    return SCHEDULE_TOPIC in control.topics() and control.end(SCHEDULE_TOPIC) > 0
