"""Thresholds fail a load run: `--fail-if 'p99>50ms'`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rdv.errors import InputFault

LATENCIES = ("p50", "p90", "p95", "p99", "p99.9", "mean", "max")
"""Metrics in time; their values are nanoseconds."""

SHARES = ("errors", "misses", "default", "fallback")
"""Metrics in share of all requests; their values are between 0 and 1."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_TIMES = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
_SHAPE = re.compile(r"\s*([A-Za-z0-9.]+)\s*(>=|<=|>|<)\s*([0-9]*\.?[0-9]+)\s*([A-Za-zµ%]*)\s*")


class InvalidThreshold(InputFault):
    """A `--fail-if` cannot be parsed."""

    given: str
    reason: str

    _text = "{given!r} is not a threshold: {reason}"
    _hint = "For example p99>50ms, mean>=2ms, errors>0, misses>0.1%, default>5%."


@dataclass(frozen=True)
class Threshold:
    """Holds a condition that fails the run when it is true."""

    text: str
    metric: str
    comparison: str
    value: float
    """Nanoseconds for a latency, a share between 0 and 1 otherwise."""

    def violated(self, measured: Mapping[str, float]) -> bool:
        """Return whether `measured` (metric → ns or share) fails the run.

        Raises KeyError for a metric that was not measured.
        """
        return _OPERATORS[self.comparison](measured[self.metric], self.value)

    def explain(self, measured: Mapping[str, float]) -> str:
        """Return the measured value beside the condition, for people."""
        value = measured[self.metric]
        shown = f"{value / 1e6:.3f} ms" if self.metric in LATENCIES else f"{value:.3%}"
        return f"{self.metric} is {shown}: {self.text}"


def parse_threshold(text: str) -> Threshold:
    """Parse `METRIC OP VALUE`: a latency with a unit (ns, us, ms, s), a share in % or from 0 to 1.

    Raises InvalidThreshold, which names what is wrong.
    """
    matched = _SHAPE.fullmatch(text)
    if matched is None:
        raise InvalidThreshold(text, "it must be METRIC, one of > >= < <=, and a value")
    metric, comparison, digits, unit = matched.groups()
    value = float(digits)
    if metric in LATENCIES:
        if unit not in _TIMES:
            wrong = f"{unit!r} is not a unit of time" if unit else "it has no unit"
            raise InvalidThreshold(text, f"{wrong}; use one of {', '.join(_TIMES)}")
        return Threshold(text.strip(), metric, comparison, value * _TIMES[unit])
    if metric not in SHARES:
        known = ", ".join((*LATENCIES, *SHARES))
        raise InvalidThreshold(text, f"there is no metric {metric!r}, only {known}")
    if unit not in ("", "%"):
        raise InvalidThreshold(text, f"{metric} is a share: give it in % or from 0 to 1")
    share = value / 100 if unit else value
    if share > 1:
        reason = f"{metric} is a share of all requests: {digits}{unit} is more than all of them"
        raise InvalidThreshold(text, reason)
    return Threshold(text.strip(), metric, comparison, share)
