"""Run a drill: copy the decision, run the exercises on the copy, and judge what was seen."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
import uvloop

from rdv.load.drill.copying import copy_decision, known_schedules
from rdv.load.drill.exercises import DrillRun, Progress
from rdv.load.drill.plan import DrillPlan
from rdv.load.drill.recorded import read_record
from rdv.load.drill.verdict import Known, Record, Verdict, judge
from rdv.load.generator import Histogram

_TERMINATED = 143
"""The exit status after SIGTERM, by the shell's convention."""


@dataclass(frozen=True)
class DrillReport:
    """The findings of a drill."""

    verdict: Verdict
    requests: int
    seconds: float
    client_ms: dict[str, float]
    """Percentiles by the clients' own clock, from the scheduled send, in ms."""
    timers_ms: dict[str, float]
    """Percentiles of how late the drill's own timers were, in ms: the machine's part in it."""
    left_out: list[str]
    """Parts that never came up."""
    kept: str
    """The path of the copy, if it was to be kept."""


def run_drill(
    directory: str,
    plan: DrillPlan,
    bodies: Sequence[bytes],
    port: int,
    progress: Progress,
    *,
    grace_ms: float = 10.0,
    keep: bool = False,
) -> DrillReport:
    """Run a drill and block until it is over; nothing is left then, unless the copy is to be kept.

    `directory` is only read. `port` is the one given to `targets_of`. Raises CopyNotServed,
    InvalidDrill and RdvErrors of the configuration; KeyboardInterrupt on Ctrl-C.
    """
    place = tempfile.mkdtemp(prefix="rdv-drill-")
    try:
        decision = copy_decision(directory, os.path.join(place, "decision"))
        run = DrillRun(decision, plan, bodies, port, progress)
        schedules = known_schedules(decision, bodies)
        begin_s = time.monotonic()
        with open(os.path.join(place, "serve.log"), "wb") as log:
            uvloop.run(run.run(log))
        seconds = time.monotonic() - begin_s
        schedules |= known_schedules(decision, bodies)  # with the edits of the drill
        verdict = _judge(run, schedules, grace_ms)
    except asyncio.CancelledError:
        raise SystemExit(_TERMINATED) from None
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    return DrillReport(
        verdict,
        len(run.client_log.entries),
        round(seconds, 3),
        _percentiles(run.client_log.latency),
        _percentiles(run.timers.late),
        run.left_out,
        place if keep else "",
    )


def _judge(run: DrillRun, schedules: Mapping[str, Known], grace_ms: float) -> Verdict:
    """Judge by all that the clients saw and all that is recorded."""
    entries, decision = run.client_log.entries, run.decision
    answered = any(entry.is_answered for entry in entries)
    record = read_record(decision, run.damaged_files) if answered else Record()
    defaults = {entry.result: orjson.loads(entry.result) for entry in entries if entry.result}
    spans, edits = run.spans, run.edits
    return judge(entries, spans, record, schedules, defaults, grace_ms, edits)


def _percentiles(of: Histogram) -> dict[str, float]:
    percents = (50.0, 90.0, 99.0)
    values = zip(percents, of.percentiles(percents), strict=True)
    shown = {f"p{percent:g}": round(ns / 1e6, 3) for percent, ns in values}
    return shown | {"max": round(of.max / 1e6, 3)}
