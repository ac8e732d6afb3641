"""The studies of a decision, with its settings: one call each, for `rdv.open` and the commands."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from rdv.analysis.compare import Comparison
from rdv.analysis.compare import compare as compare_study
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.digests import read_past
from rdv.analysis.exploration.study import explored, of_model, of_schedule
from rdv.analysis.optimise.result import Optimum
from rdv.analysis.optimise.study import optimise as search
from rdv.analysis.replay.job import ReplayJob
from rdv.analysis.replay.result import Findings
from rdv.analysis.whatif.result import WhatIf
from rdv.analysis.whatif.study import what_if
from rdv.decision import Decision, ModelConfig, ModelNotFound, check_model_name
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


def replay(
    recorded: Recorded,
    decision: Decision,
    model: str,
    span: Span = (None, None),
    *,
    name: str | None = None,
    on: str | None = None,
    metric: str = "",
    speed: float | None = None,
    warm_up_ns: int | None = 0,
) -> Findings:
    """Run a model on recorded requests in a process of its own, and compare its answers.

    model: the name of a declared model, or a model's file; `name` is the declared model whose other
        settings the file gets. warm_up_ns: from how long before the span requests are fed first,
        which do not count; None: from all. Raises ModelNotFound, ModelNotLoaded, NothingRecorded.
    """
    config = decision.models.get(name or model)
    if config is None and (name is not None or not os.path.exists(model)):
        raise ModelNotFound(decision.directory, name or model, tuple(sorted(decision.models)))
    if model not in decision.models:
        path = os.path.abspath(model)
        named = name or _name_of(model)
        config = replaced(config, path)
    else:
        named = model
    assert config is not None
    until_ns = time.time_ns() if span[1] is None else span[1]
    job = ReplayJob(
        decision, named, config, (span[0], until_ns), on, None, speed, None, metric, warm_up_ns
    )
    return job.run(recorded, _no_replaying, _no_comparing)


def replaced(config: ModelConfig | None, path: str) -> ModelConfig:
    """Return a model's settings with another file."""
    return msgspec.structs.replace(config or ModelConfig(), path=path, command=[])


def _name_of(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path.rstrip(os.sep)))[0]
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem).strip("-_") or "model"
    return check_model_name(name)


@contextlib.contextmanager
def _no_replaying(_: int) -> Iterator[Progress]:
    yield _nothing


@contextlib.contextmanager
def _no_comparing() -> Iterator[Progress]:
    yield _nothing


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
