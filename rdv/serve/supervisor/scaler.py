"""Scales the models of a decision: measures their load about once a second, and asks the policy."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from rdv.clock import Clock
from rdv.decision import Decision, ModelConfig
from rdv.errors import RdvError
from rdv.serve.supervisor.plan import first_count
from rdv.serve.supervisor.scaling import (
    History,
    Limits,
    Meters,
    begun,
    decide,
    followed,
    measured,
    with_request,
)
from rdv.status.lines import ScaleLine, StatusLine

LOOK_EVERY_S = 1.0
"""Workers write their status at the same rate."""


class RequestWatch(Protocol):
    """Detects requests for models that have no instance: see `demand`."""

    def listen(self, sleeping: Collection[str]) -> None: ...


@dataclass(frozen=True)
class Callbacks:
    """Holds the functions of the supervisor that a scaler needs once it runs."""

    own_pids: Callable[[], Collection[int]]
    changed: Callable[[], None]
    """Called when the wanted processes have changed."""
    record: Callable[[ScaleLine], bool]
    """Record a line; return whether it could be written."""
    is_down: Callable[[str], None]
    """Called for a model that has no instance, and is to have none."""
    lag: Callable[[str], int]
    """Return the requests that a model's group has not committed. Raises RdvErrors."""


def limits_of(decision: Decision, model: ModelConfig) -> Limits:
    """Return a model's limits, never more than can share the partitions."""
    least, most = (min(count, decision.shareable) for count in model.range)
    return Limits(least, most, model.idle_ms, model.scale_down_ms, model.batch_max)


class Scaler:
    """Holds the wanted number of instances of each model. For the supervisor's loop."""

    def __init__(
        self, decision: Callable[[], Decision], clock: Clock, report: Callable[[str], None]
    ) -> None:
        self._decision = decision
        self._clock = clock
        self._report = report
        self._meters = Meters()
        self._histories: dict[str, History] = {}
        self._fixed: dict[str, int] = {}
        self._recorded: dict[str, tuple[int, Limits]] = {}
        self._callbacks: Callbacks | None = None
        self._watch: RequestWatch | None = None
        self._timer: asyncio.TimerHandle | None = None

    def counts(self) -> dict[str, int]:
        """Return the instances of the models that scale."""
        return {name: history.wanted for name, history in self._histories.items()}

    def update(self, decision: Decision) -> None:
        """Set the models from now on; called before their processes are planned.

        One that runs already and begins to scale starts with its present number.
        """
        now_ms = self._now_ms()
        scaling = {n: m for n, m in decision.models.items() if m.scales and not m.retired}
        for name, model in scaling.items():
            if name not in self._histories:
                limits = limits_of(decision, model)
                count = self._fixed.get(name, first_count(decision, model))
                self._histories[name] = begun(min(count, limits.most), now_ms)
        for name in self._histories.keys() - scaling.keys():
            del self._histories[name]
            self._recorded.pop(name, None)
        self._fixed = {
            name: first_count(decision, model)
            for name, model in decision.models.items()
            if name not in scaling and not model.retired
        }

    def start(self, callbacks: Callbacks, watch: RequestWatch) -> None:
        """Start the periodic measurements."""
        self._callbacks, self._watch = callbacks, watch
        self._turn()

    def reported(self, line: StatusLine) -> None:
        """Handle a status line of a process."""
        if line.model in self._histories:
            self._meters.add(line)

    def requested(self, model: str) -> None:
        """Handle a request for a model that may have no instance."""
        if (history := self._histories.get(model)) is not None:
            self._histories[model] = with_request(history)
            self._look([model])

    def _turn(self) -> None:
        self._look(list(self._histories))
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._turn)

    def _look(self, names: Iterable[str]) -> None:
        assert self._callbacks is not None
        assert self._watch is not None
        self._meters.keep(set(self._callbacks.own_pids()))
        decision, now_ms, before = self._decision(), self._now_ms(), self.counts()
        for name in names:
            model = decision.models.get(name)
            if model is not None:
                self._judge(name, model, limits_of(decision, model), now_ms)
        if self.counts() != before:
            self._callbacks.changed()
        asleep = [n for n, h in self._histories.items() if h.wanted == 0 and n in decision.models]
        for name in asleep:
            if decision.models[name].scores:
                self._callbacks.is_down(name)
        self._watch.listen(asleep)

    def _judge(self, name: str, model: ModelConfig, limits: Limits, now_ms: float) -> None:
        assert self._callbacks is not None
        history = self._histories[name]
        if history.wanted:
            look = self._meters.look(name, limits.batch_max, self._clock)
            if not model.skips:
                # It refuses nothing: requests that it has not even read count as well.
                with contextlib.suppress(RdvError):
                    look = look._replace(waiting=max(look.waiting, self._callbacks.lag(name)))
            history = measured(history, look, limits)
        verdict = decide(history, limits, now_ms)
        if verdict.wanted != history.wanted:
            self._report(f"{name}: {history.wanted} → {verdict.wanted} instances: {verdict.reason}")
        history = self._histories[name] = followed(history, verdict, now_ms)
        self._record(name, history, limits)

    def _record(self, name: str, history: History, limits: Limits) -> None:
        """Record each change once; what cannot be written is retried at the next measurement."""
        assert self._callbacks is not None
        now = (history.wanted, limits)
        if self._recorded.get(name) == now:
            return
        wall_ns = self._clock.wall_ns()
        line = ScaleLine(
            name, history.wanted, limits.least, limits.most, history.reason, wall_ns, os.getpid()
        )
        if self._callbacks.record(line):
            self._recorded[name] = now

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _now_ms(self) -> float:
        return self._clock.monotonic_ns() / 1e6
