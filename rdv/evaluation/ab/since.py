"""`control:cohorts` records since when the cohorts of an experiment have been in force."""

from __future__ import annotations

from typing import Any

import orjson

from rdv.errors import RdvError
from rdv.evaluation.ab.plan import Plan
from rdv.evaluation.places import COHORTS_TOPIC, CONTROL, Recorded
from rdv.stream.passing import pass_over


def in_force_since_ns(recorded: Recorded, plan: Plan) -> int | None:
    """Return when the cohorts became what they are in `plan`: shares, salt and schedules.

    Returns None if that is not recorded: they were never served like this, or by an older rdv.
    Raises the log's SystemFaults.
    """
    control = recorded.stream(CONTROL)
    if control is None or COHORTS_TOPIC not in control.topics():
        return None
    since_ns: int | None = None
    with control.consumer([COHORTS_TOPIC]) as consumer:
        while True:
            try:
                records = consumer.poll(1_000)
            except RdvError as error:
                if not pass_over(consumer, error):
                    raise
                continue
            if not records:
                return since_ns or None
            for record in records:
                try:
                    line = orjson.loads(record.value)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(line, dict) and isinstance(line.get("since_ns"), int):
                    since_ns = line["since_ns"] if _is_so(line, plan) else None


def _is_so(line: dict[str, Any], plan: Plan) -> bool:
    cohorts = line.get("cohorts")
    if not isinstance(cohorts, dict) or line.get("salt") != plan.salt:
        return False
    if {name: c.get("share") for name, c in cohorts.items()} != dict(plan.shares):
        return False
    return all(
        cohorts[name].get("schedule") == plan.schedules[name].label
        for name in plan.shares
        if name in plan.schedules
    )
