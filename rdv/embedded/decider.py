"""Decides one request after another by the engine; the models report one after another.

The engine is that of the rendezvous server, so the same arrivals give the same answers. Only the
arrivals differ: here a model begins when the one before it has ended. Models are called in the
order in which the schedule wants them. One whose answer cannot matter any more is not called. When
the last one has reported nothing else can arrive, so that the decision is made at once, without
waiting for the ends of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from rdv.models.model import ModelError
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, Result, Score
from rdv.rendezvous.schedule import OTHERS, Schedule

_LIMITS = Limits(answered_ids_max=2, early_scores_max=2)
"""There is one request at a time, and no score comes before its request."""

_ORDERS_MAX = 1_000
"""The maximum number of kept orders of models: inline schedules have no end."""


class ModelCaller(Protocol):
    """Evaluates one model. For one thread at a time; raises nothing but KeyboardInterrupt."""

    version: str

    def call(self, request: Request, until_ns: int) -> bytes | ModelError | None:
        """Return the result as JSON, why there is none, or None: no report by `until_ns`.

        `until_ns` is when the decision is over, on the monotonic clock.
        """

    def close(self) -> None:
        """Release what the model holds. May be called twice."""


class Decided(NamedTuple):
    """A decision, and what each model that was called has reported."""

    result: Result
    scores: list[Score]


class Decider:
    """A `Decider` decides requests. One thread at a time."""

    def __init__(
        self,
        host: str,
        schedules: Mapping[str, Schedule],
        live: str,
        models: Mapping[str, ModelCaller],
        now_ns: Callable[[], int],
    ) -> None:
        """Raise UnknownSchedule if `live` is none of the schedules."""
        self._models = models
        self._now_ns = now_ns
        self._engine = Engine(host, schedules, live, models, _LIMITS)
        named = {name for s in schedules.values() for step in s.steps for name in step.accept}
        for name in sorted(named - models.keys() - {OTHERS}):
            self._engine.model_down(name, now_ns())  # no step waits for what is not there
        self._orders: dict[int, tuple[Schedule, tuple[str, ...]]] = {}
        """By the schedule's identity, which is kept alive for that: its hash would take longer."""

    def decide(self, request: Request, schedule: Schedule, *, all_models: bool = False) -> Decided:
        """Decide a request by its schedule, which is the one that the engine finds for it.

        With `all_models` all are called, also those whose answers cannot matter any more.
        """
        engine, now_ns = self._engine, self._now_ns
        results = engine.request(request, now_ns())
        sla_ms = schedule.sla_ms
        deadline_ms = sla_ms if request.deadline_ms is None else request.deadline_ms
        until_ns = request.monotonic_ns + int(deadline_ms * 1_000_000)
        scores: list[Score] = []
        if not results or all_models:
            for name in self._order(schedule):
                if name in request.not_asked:
                    continue
                if not all_models and not engine.may_matter(request.id, name):
                    continue
                begun_ns = now_ns()
                outcome = self._models[name].call(request, until_ns)
                if outcome is None:
                    continue
                ended_ns = now_ns()
                score = self._score(request.id, name, outcome, ended_ns - begun_ns)
                scores.append(score)
                if found := engine.score(score, ended_ns):
                    results = results or found
                    if not all_models:
                        break
        if not results:
            at_ns = now_ns()
            while not results and (due_ns := engine.next_deadline()) is not None:
                results = engine.tick(max(at_ns, due_ns))
        engine.next_deadline()  # drops the answered mailbox
        return Decided(results[0], scores)

    def _score(self, id_: str, name: str, outcome: bytes | ModelError, took_ns: int) -> Score:
        """Return what a model has reported."""
        version = self._models[name].version
        took_ms = took_ns // 1000 / 1000
        if type(outcome) is bytes:
            return Score(id_, name, version, 0, 0.0, took_ms, 1, msgspec.Raw(outcome))
        assert isinstance(outcome, ModelError)
        score = Score(id_, name, version, 0, 0.0, took_ms, code=outcome.code)
        if outcome.code == "bad_input":
            return msgspec.structs.replace(score, refusal="bad input", detail=str(outcome))
        return msgspec.structs.replace(score, error=str(outcome))

    def _order(self, schedule: Schedule) -> tuple[str, ...]:
        known = self._orders.get(id(schedule))
        if known is not None:
            return known[1]
        if len(self._orders) >= _ORDERS_MAX:
            self._orders.clear()
        found = order_of(schedule, self._models)
        self._orders[id(schedule)] = schedule, found
        return found


def order_of(schedule: Schedule, models: Iterable[str]) -> tuple[str, ...]:
    """Return the models in the order in which the schedule wants them: by step, then by rank.

    Models that no step accepts come last.
    """
    models = list(models)
    found: dict[str, None] = {}
    for step in schedule.steps:
        for accepted in step.accept:
            names = models if accepted == OTHERS else [accepted]
            named = set(step.accept)
            for name in names:
                if name in models and (accepted != OTHERS or name not in named):
                    found.setdefault(name)
    for name in models:
        found.setdefault(name)
    return tuple(found)
