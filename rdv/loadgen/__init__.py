"""Generates open-loop (and closed-loop) HTTP load, as a library. Needs httptools.

Latency is measured from the *scheduled* send: a server that stalls is charged for every request
that it kept from being sent on time (no coordinated omission).
"""

from __future__ import annotations

from rdv.loadgen.arrivals import constant, poisson
from rdv.loadgen.errors import InvalidLoad, InvalidThreshold
from rdv.loadgen.generator import Generator
from rdv.loadgen.histogram import Histogram
from rdv.loadgen.limits import LoadLimits
from rdv.loadgen.sink import Sink
from rdv.loadgen.tally import Tally
from rdv.loadgen.threshold import Threshold, parse_threshold
from rdv.loadgen.wire import render_request

__all__ = [
    "Generator",
    "Histogram",
    "InvalidLoad",
    "InvalidThreshold",
    "LoadLimits",
    "Sink",
    "Tally",
    "Threshold",
    "constant",
    "parse_threshold",
    "poisson",
    "render_request",
]
