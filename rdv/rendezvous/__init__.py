"""The rendezvous gives one answer per request by its SLA, from the reports so far.

    engine = Engine(host, schedules, live="production", models=["gbm", "logit"])
    results = engine.request(request, now_ns)     # each call returns the results that it decides
    results = engine.score(score, now_ns)
    results = engine.tick(now_ns)                 # call it at engine.next_deadline()

Pure: no clock, no files, no threads, no randomness. The server around it is a thin loop.
"""

from __future__ import annotations

from rdv.rendezvous.counters import Counters
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.errors import UnknownSchedule
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.reasons import Why
from rdv.rendezvous.reference import Decision, LivenessChange, Report, decide

__all__ = [
    "Counters",
    "Decision",
    "Engine",
    "Limits",
    "LivenessChange",
    "Report",
    "UnknownSchedule",
    "Why",
    "decide",
]
