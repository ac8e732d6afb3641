"""Generates open-loop (and closed-loop) HTTP load, as a library. Needs httptools.

Latency is measured from the *scheduled* send: a server that stalls is charged for every request
that it kept from being sent on time (no coordinated omission).
"""

from __future__ import annotations

from rdv.load.generator.arrivals import InvalidLoad, constant, poisson, share_of
from rdv.load.generator.generator import Generator, LoadLimits
from rdv.load.generator.tally import Histogram, Sink, Tally
from rdv.load.generator.threshold import InvalidThreshold, Threshold, parse_threshold
from rdv.load.generator.wire import render_request

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
    "share_of",
]
