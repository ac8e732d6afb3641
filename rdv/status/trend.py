"""Keeps figures of the last minutes in steps of some seconds: for sparklines, and the budget. Pure.

The memory is bounded: a step has counts, and its latencies as a histogram of a fixed number of
classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdv.rendezvous.messages import Result
from rdv.status.window import MISS_GRACE_MS

STEP_S = 5
STEPS = 60
"""How many steps are kept: five minutes."""

TARGET = 0.999
"""The share of answers that are to come from a model within the SLA: the rest is the budget."""

MODELS_MAX = 100
"""How many models are counted in a step, at most."""

_CLASS = math.log(1.05)
"""The logarithm of the width of a class of latencies: 5 %."""
_CLASSES_MAX = 500


@dataclass
class _Step:
    answers: int = 0
    defaults: int = 0
    bad: int = 0
    """Answers that are defaults, or later than the SLA."""
    waited: Counter[int] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)


class Trend:
    """Collects results into steps; those older than STEPS steps are forgotten. For one thread."""

    def __init__(self) -> None:
        self._steps: dict[int, _Step] = {}

    def add(self, time_ns: int, result: Result, sla_ms: Callable[[str], float | None]) -> None:
        """Add a result; `time_ns` is when it was appended, on the clock of `figures`."""
        limit_ms = sla_ms(result.schedule)
        is_by_proxy = result.answered_by == "proxy"
        is_late = limit_ms is not None and result.waited_ms > limit_ms + MISS_GRACE_MS
        if is_late and not is_by_proxy:
            return  # the proxy has answered, and that is recorded as well
        number = time_ns // (STEP_S * 10**9)
        step = self._steps.get(number)
        if step is None:
            step = self._steps[number] = _Step()
            self._forget(max(self._steps))
        step.answers += 1
        step.defaults += result.kind == "default"
        step.bad += result.kind == "default" or is_late
        step.waited[_class_of(result.waited_ms)] += 1
        name = result.model or ""
        if name and (name in step.models or len(step.models) < MODELS_MAX):
            step.models[name] += 1

    def _forget(self, newest: int) -> None:
        for number in [number for number in self._steps if number <= newest - STEPS - 1]:
            del self._steps[number]

    def figures(self, now_ns: int) -> dict[str, Any]:
        """Return the figures of each step, the oldest first, and the budget of all of them.

        The step that has not ended is left out. Steps without answers have 0 answers, and None for
        what is not known then.
        """
        now = now_ns // (STEP_S * 10**9)
        self._forget(now)
        steps = [self._steps.get(number, _EMPTY) for number in range(now - STEPS, now)]
        answers, bad = sum(one.answers for one in steps), sum(one.bad for one in steps)
        models = Counter[str]()
        for one in steps:
            models.update(one.models)
        return {
            "step_s": STEP_S,
            "rates": [one.answers / STEP_S for one in steps],
            "p99_ms": [_percentile(one.waited, 0.99) for one in steps],
            "defaults": [_share(one.defaults, one) for one in steps],
            "models": {
                name: [_share(one.models[name], one) for one in steps]
                for name, _ in models.most_common()
            },
            "budget": _budget(answers, bad),
        }


_EMPTY = _Step()


def _budget(answers: int, bad: int) -> dict[str, Any]:
    """Return the share of answers that are late or defaults, and how fast it spends the budget.

    A burn rate of 1 spends exactly what the target leaves.
    """
    share = bad / answers if answers else None
    burn = None if share is None else share / (1 - TARGET)
    return {"target": TARGET, "answers": answers, "bad": bad, "share": share, "burn_rate": burn}


def _share(count: int, step: _Step) -> float | None:
    return count / step.answers if step.answers else None


def _class_of(waited_ms: float) -> int:
    """Return the class of a latency: the upper bound of class n is 0.01 ms x 1.05 ** n."""
    if not waited_ms > 0.01:  # noqa: PLR2004
        return 0
    return min(_CLASSES_MAX, math.ceil(math.log(waited_ms / 0.01) / _CLASS))


def _percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Return an upper bound of the percentile, which is at most 5 % above it; None without any."""
    wanted = share * sum(classes.values())
    seen = 0
    for number in sorted(classes):
        seen += classes[number]
        if seen >= wanted - 1e-9:
            return 0.01 * math.exp(number * _CLASS)
    return None


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], columns: int, most: float | None = None) -> str:
    """Return values as a line of bars, the newest at its end; a space where nothing is known.

    `most` is the value of a full bar, by default the largest. Of more values than `columns`, each
    bar is the largest of some neighbours, so that no peak is hidden.
    """
    width = max(1, math.ceil(len(values) / max(1, columns)))
    groups = [values[max(0, end - width) : end] for end in range(len(values), 0, -width)][::-1]
    peaks = [max((v for v in group if v is not None), default=None) for group in groups]
    top = most or max((peak for peak in peaks if peak is not None), default=0.0)
    return "".join(" " if peak is None else _bar(peak, top) for peak in peaks)


def _bar(value: float, top: float) -> str:
    if top <= 0:
        return _BARS[0]
    return _BARS[min(len(_BARS) - 1, int(max(0.0, value) / top * (len(_BARS) - 1) + 0.999999))]
