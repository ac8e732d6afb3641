"""The studies of a decision, with its settings: one call each, for `rdv.open` and the commands."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from rdv.analysis.compare import Comparison
from rdv.analysis.compare import compare as compare_study
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.digests import read_past
from rdv.analysis.explain import Explanation, find_request
from rdv.analysis.explain import explain as explain_study
from rdv.analysis.exploration.study import explored, of_model, of_schedule
from rdv.analysis.optimise.result import Optimum
from rdv.analysis.optimise.study import optimise as search
from rdv.analysis.replay.job import ReplayJob
from rdv.analysis.replay.result import Findings
from rdv.analysis.whatif.result import WhatIf
from rdv.analysis.whatif.study import what_if
from rdv.api.model_code import replayed_model
from rdv.client.errors import InvalidCall
from rdv.decision import Decision
from rdv.decision.schedules import read_schedule, retired_models
from rdv.errors import InputFault
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import SCORES

Span = tuple[int | None, int | None]
Progress = Callable[[int], None]
DISAGREEMENTS = 100
TRIES = 2_000
"""About how many schedules `optimise` tries."""


def _nothing(_: int) -> None:
    pass


@contextlib.contextmanager
def _unseen(*_: int) -> Iterator[Progress]:
    """Show no progress."""
    yield _nothing


def whatif(
    recorded: Recorded,
    decision: Decision,
    schedule: Schedule,
    span: Span = (None, None),
    *,
    on: str | None = None,
    metric: str = "",
    keep: Callable[..., None] | None = None,
    progress: Progress = _nothing,
) -> WhatIf:
    """Study what the schedule would have answered; `keep` gets every decision, batch by batch.

    Its `exploration` is what randomised requests say of this schedule and of the live one.
    """
    named = _settings(decision, on, metric)
    more: dict[str, Any] = {} if keep is None else {"keep": keep}
    since_ns, until_ns = span
    found = what_if(recorded, schedule, since_ns, until_ns, progress=progress, **named, **more)
    live = _live(decision, schedule)
    policies = ("what if", of_schedule(schedule)), ("live", of_schedule(live))
    found.exploration = explored(recorded, policies, *span, **named)
    return found


def compare(
    recorded: Recorded,
    decision: Decision,
    first: str,
    second: str,
    span: Span = (None, None),
    *,
    on: str | None = None,
    metric: str = "",
    by: str | None = None,
    canary: str | None = None,
    disagreements: int = DISAGREEMENTS,
    progress: Progress = _nothing,
) -> Comparison:
    """Compare two models on the same requests; by default with the canary of rdv.toml.

    Its `exploration` is what randomised requests say of both.
    """
    named = _settings(decision, on, metric)
    found = compare_study(
        recorded,
        first,
        second,
        *span,
        by=by,
        canary=canary or known_canary(decision, recorded),
        disagreements=disagreements,
        past=read_past(recorded, span[0]),
        progress=progress,
        **named,
    )
    policies = (first, of_model(first)), (second, of_model(second))
    return replace(found, exploration=explored(recorded, policies, *span, **named))


def optimise(
    recorded: Recorded,
    decision: Decision,
    span: Span = (None, None),
    *,
    p99_ms_max: float | None = None,
    need_outcomes: bool = False,
    on: str | None = None,
    metric: str = "",
    tries: int = TRIES,
    progress: Progress = _nothing,
) -> Optimum:
    """Search for a better schedule than the live one."""
    return search(
        recorded,
        read_schedule(decision),
        *span,
        p99_ms_max=p99_ms_max,
        need_outcomes=need_outcomes,
        outcome=decision.outcome,
        on=on,
        metric=metric,
        value=decision.value,
        tries=tries,
        without=retired_models(decision),
        progress=progress,
    )


def explain(recorded: Recorded, id_: str, when: Callable[[int], str] = str) -> Explanation:
    """Explain the answer to the request whose id is, begins with or ends with `id_`.

    `when` formats a time in ns since 1970 for the error. Raises RequestNotFound, AmbiguousId,
    IdTooShort.
    """
    return explain_study(recorded, find_request(recorded, id_, when))


def replay(
    recorded: Recorded,
    decision: Decision,
    path: str | None,
    span: Span = (None, None),
    *,
    name: str | None = None,
    command: list[str] | None = None,
    on: str | None = None,
    metric: str = "",
    speed: float | None = None,
    warm_up_ns: int | None = 0,
    decoy: str | None = None,
    out: str | None = None,
    replaying: Callable[[int], AbstractContextManager[Progress]] = _unseen,
    comparing: Callable[[], AbstractContextManager[Progress]] = _unseen,
    what: str = "model",
) -> Findings:
    """Run a model on recorded requests in a process of its own, and compare its answers.

    path, command: its file or its program; without one the code of the declared model `name`.
    name: the declared model whose settings it gets; by default one made from the file's name.
    warm_up_ns: from how long before the span requests are fed first, which do not count; None:
        from all. speed: a multiple of the recorded pace; None: as fast as the model can.
    decoy: the decoy whose archive has the requests. out: a Parquet file for every result.
    replaying, comparing: return what shows the progress of both steps. what: how errors call path.

    Raises InvalidCall, ModelNotFound, NotUsable, ModelNotLoaded, NothingRecorded, and what
    `ReplayJob.run` raises.
    """
    if not (path or command or name):
        raise InvalidCall("a model is needed: a file, a command or the name of a declared model")
    if speed is not None and not 0 < speed < math.inf:
        raise InvalidCall(f"speed is a number above 0, not {speed!r}")
    named, config = replayed_model(decision, path, name, command, what)
    span = (span[0], time.time_ns() if span[1] is None else span[1])
    job = ReplayJob(decision, named, config, span, on, decoy, speed, out, metric, warm_up_ns)
    return job.run(recorded, replaying, comparing)


def known_canary(decision: Decision, recorded: Recorded) -> str | None:
    """Return the name of the decision's canary, if it has scored anything."""
    scores = recorded.stream(SCORES)
    there = scores.topics() if scores is not None else ()
    declared = [name for name, model in decision.models.items() if model.builtin == "canary"]
    return next((name for name in declared if name in there), None)


def _settings(decision: Decision, on: str | None, metric: str) -> dict[str, Any]:
    """Return by what answers are measured: the arguments that several studies share."""
    return {"outcome": decision.outcome, "on": on, "metric": metric, "value": decision.value}


def _live(decision: Decision, otherwise: Schedule) -> Schedule:
    """Return the live schedule as its file is now; the other one if it cannot be read."""
    try:
        return read_schedule(decision)
    except InputFault:
        return otherwise
