"""Simulate a decision in one thread: real processes; simulated clock, disk and network.

    plan = make_plan(seed)            what happens: topology, requests, faults; data, and printable
    outcome = play(plan)              runs it; `outcome.broken` are the promises that did not hold
    shrink(plan)                      the shortest plan that still breaks the same promise

Every process (proxy, server, worker, supervisor) runs the product's own code in a greenlet. It may
be stopped, killed or delayed at every operation on the log, and wherever it waits. One seed is one
run: nothing else decides anything.
"""

from __future__ import annotations

from simulator.outcome import Broken, Outcome
from simulator.plan import Plan, make_plan
from simulator.play import play
from simulator.shrink import shrink

__all__ = ["Broken", "Outcome", "Plan", "make_plan", "play", "shrink"]
