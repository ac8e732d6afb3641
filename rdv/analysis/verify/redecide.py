"""Make one recorded decision again with the real engine.

It must reproduce the answering model, the kind, the step, the answer's bytes, and the list of
models that had arrived, by no later than the recorded answer was given. Its input is the request,
the schedule by its label, and the arrivals that the result records, with their scores' contents. So
a server that was killed and has rebuilt its mailboxes (scores then arrive at other times than they
would have) is verified by what it saw.

The models that were known to be dead are not in the result. Where it matters, the decision has to
follow from one of the states that `control:models` allows: a server reads of a change a moment
after it is recorded, and one that has just started has not read of any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from rdv.payload import sorted_json
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Arrival, Request, Result, Score, result_code
from rdv.rendezvous.schedule import Schedule

HOST = "replay"
_PAUSE_NS = 10**12
"""The time between two requests in ns, longer than any of them may wait."""
_ENGINES_MAX = 1_000


@dataclass(frozen=True)
class Knowledge:
    """Models known to be up and dead at the start, and those found dead at the decision."""

    live: frozenset[str]
    dead: frozenset[str]
    found_dead: frozenset[str] = frozenset()
    is_early: bool = False
    """Whether scores at 0 ms came before their request."""


class Replayer:
    """Makes decisions again. Engines are cached by schedule and knowledge.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._engines: dict[tuple[str, frozenset[str], frozenset[str]], Engine] = {}
        self._now_ns = _PAUSE_NS

    def decide(
        self,
        request: Request,
        result: Result,
        reports: Sequence[tuple[Arrival, Score]],
        schedule: Schedule,
        knowledge: Knowledge,
        *,
        again: bool = False,
    ) -> Result | None:
        """Return the engine's result by the time of the recorded one; None if it would still wait.

        `reports` are `result.arrived` with their scores, without those of models that the request
        does not ask: the engine makes them itself. `again`: this request has already been tried; an
        engine answers each one only once.
        """
        make = _make_engine if again else self._engine
        engine = make(schedule, knowledge)
        start_ns = self._now_ns = self._now_ns + _PAUSE_NS
        end_ns = start_ns + round(result.waited_ms * 1000) * 1000
        asked = msgspec.structs.replace(
            request, host=HOST, monotonic_ns=start_ns, schedule=None, reply_to=result.reply_to
        )
        events = list(reports)
        found: list[Result] = []
        before_ms = 0.001 if knowledge.is_early else 0.0
        for arrival, score in events:
            if arrival.arrived_ms < before_ms:
                at_ns = start_ns + round(arrival.arrived_ms * 1000) * 1000
                found += engine.score(score, min(at_ns, start_ns - 1))
        events = [event for event in events if event[0].arrived_ms >= before_ms]
        seen_ns = end_ns if result_code(result) == "expired" else start_ns
        found += engine.request(asked, seen_ns)
        for arrival, score in events:
            found += engine.score(score, start_ns + round(arrival.arrived_ms * 1000) * 1000)
        if knowledge.found_dead and not found:
            for model in sorted(knowledge.found_dead):
                found += engine.model_down(model, end_ns)
        found += engine.tick(end_ns)
        if not found:
            engine.already_answered(request.id, end_ns)
        return found[0] if found else None

    def _engine(self, schedule: Schedule, knowledge: Knowledge) -> Engine:
        key = (schedule.label, knowledge.live, knowledge.dead)
        engine = self._engines.get(key)
        if engine is None:
            if len(self._engines) >= _ENGINES_MAX:
                self._engines.clear()
            engine = self._engines[key] = _make_engine(schedule, knowledge)
        return engine


def _make_engine(schedule: Schedule, knowledge: Knowledge) -> Engine:
    engine = Engine(HOST, {schedule.name: schedule}, schedule.name, knowledge.live)
    for model in sorted(knowledge.dead):
        engine.model_down(model, 0)
    return engine


def differences(recorded: Result, replayed: Result | None) -> dict[str, tuple[object, object]]:
    """Return what is not the same, as field: (recorded, replayed). Empty if reproduced.

    The reason's text is not compared: it depends on liveness, which is not recorded.
    """
    if replayed is None:
        return {"decision": ("taken", "the engine would still have waited")}
    fields = ("kind", "model", "version", "step", "schedule", "cohort", "propensity")
    pairs = {name: (getattr(recorded, name), getattr(replayed, name)) for name in fields}
    if not is_same_answer(recorded, replayed.result):
        pairs["result"] = (bytes(recorded.result).decode(), bytes(replayed.result).decode())
    pairs["arrived"] = (
        [list(msgspec.structs.astuple(a)) for a in recorded.arrived],
        [list(msgspec.structs.astuple(a)) for a in replayed.arrived],
    )
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if replayed.waited_ms > recorded.waited_ms:  # decided before it could be
        wrong["waited_ms"] = (recorded.waited_ms, replayed.waited_ms)
    return wrong


def is_same_answer(recorded: Result, other: msgspec.Raw) -> bool:
    """Return whether the answers are the same: a model's byte for byte, others by value.

    A default and a combined answer are compared by value, because schedules with one label may list
    the keys of their default differently.
    """
    if bytes(recorded.result) == bytes(other):
        return True
    if recorded.model is not None and "+" not in recorded.model:
        return False
    return sorted_json(msgspec.json.decode(recorded.result)) == sorted_json(
        msgspec.json.decode(other)
    )


def possible_knowledge(
    active: frozenset[str],
    arrived: frozenset[str],
    deads: Iterable[frozenset[str]],
) -> Iterator[Knowledge]:
    """Yield what a server may have known, the likeliest first. The record allows all of it.

    `deads` are the models reported dead when the request came, and after each report since.
    """
    tried = set()
    known = list(dict.fromkeys((*deads, frozenset[str]())))
    for dead in known:
        for live in (active - dead, (active | arrived) - dead, arrived - dead, frozenset[str]()):
            for found in dict.fromkeys((frozenset[str](), *(later - dead for later in known))):
                for is_early in (False, True):
                    knowledge = Knowledge(live, dead, found, is_early)
                    if knowledge not in tried:
                        tried.add(knowledge)
                        yield knowledge
