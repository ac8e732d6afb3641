"""The module reads what a drill must know from a decision's files: parts, first step, schedules."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec
import orjson

from rdv.config import Decision
from rdv.config.schedules import read_schedules
from rdv.drill.copying import PROXIES
from rdv.drill.plan import Target
from rdv.drill.verdict import Known
from rdv.errors import InputFault
from rdv.schedule import OTHERS, Schedule, schedule_from_object
from rdv.supervisor.plan import Part, parts


def targets_of(decision: Decision, port: int) -> list[Target]:
    """Return the parts of a decision as they will run in the copy, with its first proxy at
    `port`.
    """
    http = msgspec.structs.replace(decision.http, port=port, proxies=PROXIES)
    return [_target(decision, part) for part in parts(decision.replace(http=http), {})]


def _target(decision: Decision, part: Part) -> Target:
    scores = not part.model or decision.models[part.model].scores
    return Target(part.name, part.role, part.model, scores)


def first_models(decision: Decision) -> frozenset[str]:
    """Return the models that the live schedule's first step accepts."""
    schedule = read_schedules(decision.directory).by_name.get(decision.schedule)
    return frozenset() if schedule is None else frozenset(schedule.steps[0].accept)


def longest_sla_ms(decision: Decision) -> float:
    """Return the longest SLA in ms that a request's own schedule may ask for."""
    schedule = read_schedules(decision.directory).by_name.get(decision.schedule)
    return 10 * (schedule.sla_ms if schedule is not None else 1000.0)


def known_schedules(decision: Decision, bodies: Sequence[bytes]) -> dict[str, Known]:
    """Return the decision's schedules, and those that the requests bring along, by label."""
    found = list(read_schedules(decision.directory).by_name.values())
    for body in bodies:
        if b'"schedule"' in body:
            with contextlib.suppress(InputFault, orjson.JSONDecodeError, AttributeError):
                inline = orjson.loads(body).get("schedule")
                if isinstance(inline, dict):
                    found.append(schedule_from_object(inline))
    return {schedule.label: _known(schedule) for schedule in found}


def _known(schedule: Schedule) -> Known:
    accept = schedule.steps[0].accept
    first = None if OTHERS in accept else frozenset(accept)
    return Known(schedule.sla_ms, orjson.loads(orjson.dumps(schedule.default)), first)
