"""Copy a decision's settings, schedules and models, without its streams, and read what they say."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec
import orjson

from rdv.decision import FILE_NAME, RUN_DIRECTORY, Decision, load_decision, missing_files
from rdv.decision.decision import read_schedules
from rdv.errors import InputFault
from rdv.load.drill.plan import InvalidDrill, Target
from rdv.load.drill.verdict import Known
from rdv.rendezvous.schedule import OTHERS, Schedule, schedule_from_object
from rdv.rendezvous.topology import STREAMS
from rdv.serve.supervisor.plan import Part, parts
from rdv.system.faults import faults

COPY_BYTES_MAX = 4 * 1024**3
PROXIES = 2
HOST = "127.0.0.1"
SEGMENT_BYTES = 256 * 1024
"""The size of the copy's segments in bytes. They are small so that within seconds there are sealed
segments in which bytes can be flipped.
"""
CONNECTIONS_MAX, KEEP_ALIVE_MS = 600, 3_600_000
"""The proxies' limits for the copy. The drill's clients must not be refused or cut off while they
send; up to 512 of them connect to one proxy. A greedy client can use the rest and no more, within
the usual limit of 1,024 files.
"""
_LEFT_OUT = frozenset((*STREAMS, RUN_DIRECTORY, "decoy", "__pycache__", ".git"))


def copy_decision(directory: str, place: str) -> Decision:
    """Copy the decision's files into `place`, which is created. Reads the original only.

    Raises InvalidDrill, for example for a model that lies outside of the directory, and what
    `load_decision` raises.
    """
    decision = load_decision(directory)
    size = _size_bytes(directory)
    if size > COPY_BYTES_MAX:
        reason = f"{size:,} bytes of files are more than a drill copies"
        raise InvalidDrill(directory, reason, "Streams are left out: what else lies there?")
    with faults(directory, "copy"):
        # Links stay links: their targets may be huge.
        shutil.copytree(directory, place, symlinks=True, ignore=_ignore(directory))
    copied = load_decision(place)
    there = {fault.key for fault in missing_files(decision)}
    for fault in missing_files(copied):
        if fault.key not in there:
            advice = f"A drill runs on a copy: what {FILE_NAME} names has to be in the directory."
            raise InvalidDrill(fault.key, "lies outside of the decision's directory", advice)
    return copied


def _ignore(directory: str) -> Callable[[str, list[str]], set[str]]:
    top = os.path.abspath(directory)

    def left_out(folder: str, names: list[str]) -> set[str]:
        is_top = os.path.abspath(folder) == top
        return {name for name in names if name in _LEFT_OUT and (is_top or name == "__pycache__")}

    return left_out


def _size_bytes(directory: str) -> int:
    total = 0
    for folder, folders, names in os.walk(directory):
        if folder == directory:
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for name in names:
            path = os.path.join(folder, name)
            total += os.path.getsize(path) if os.path.isfile(path) else 0
    return total


def free_port(count: int = PROXIES) -> int:
    """Return a port with `count - 1` free ports behind it; another process may take them first."""
    for _ in range(100):
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind((HOST, 0))
            port = int(first.getsockname()[1])
            try:
                for number in range(1, count):
                    stack.enter_context(socket.socket()).bind((HOST, port + number))
            except (OSError, OverflowError):
                continue
            return port
    raise InvalidDrill("ports", f"there are no {count} free ports in a row")


def settings(port: int) -> dict[str, str]:
    """Return the environment in which the copy is served: it has its own ports and connection
    limits and small segments; nothing else is changed.
    """
    return {
        "RDV_HTTP_HOST": HOST,
        "RDV_HTTP_PORT": str(port),
        "RDV_HTTP_PROXIES": str(PROXIES),
        "RDV_HTTP_CONNECTIONS_MAX": str(CONNECTIONS_MAX),
        "RDV_HTTP_KEEP_ALIVE_MS": str(KEEP_ALIVE_MS),
        "RDV_LOG_SEGMENT_BYTES": str(SEGMENT_BYTES),
        "RDV_MLFLOW_FOLLOW": "false",
    }


def targets_of(decision: Decision, port: int) -> list[Target]:
    """Return the parts of a decision as they will run in the copy, its first proxy at `port`."""
    http = msgspec.structs.replace(decision.http, port=port, proxies=PROXIES)
    alone = msgspec.structs.replace(decision.mlflow, follow=False)
    return [
        _target(decision, part) for part in parts(decision.replace(http=http, mlflow=alone), {})
    ]


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
