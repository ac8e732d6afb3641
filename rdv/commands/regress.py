"""Implement `rdv regress`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.errors import InvalidOption, ThresholdBroken
from rdv.commands.options import (
    Decision,
    Json,
    Metric,
    On,
    Quiet,
    Until,
    WarmUp,
    given_schedule,
    span_ns,
    warm_up_ns,
)
from rdv.commands.output import Output, Progress
from rdv.commands.pages import finish, print_table, promise_lines
from rdv.commands.terminal import is_terminal
from rdv.commands.units import parse_duration_ns

if TYPE_CHECKING:
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.measure import Measure
    from rdv.analysis.regress.limits import Limits
    from rdv.analysis.regress.result import Regression
    from rdv.analysis.replay.job import ReplayJob
    from rdv.decision import Decision as DecisionConfig
    from rdv.rendezvous.schedule import Schedule

EXAMPLES = (
    "rdv regress fraud --against 7d --max-changed 1% --p99 40ms --value-loss 0",
    "rdv regress fraud --schedule new.toml --max-changed 5% --format markdown > comment.md",
    "rdv regress fraud --model gbm=models/gbm2.py --value-loss 0.5% --format junit > tests.xml",
)
_SHOWN_MAX = 10_000


def regress(
    directory: Decision,
    *,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The edited schedule: a file, or the name of one in DIR. Default: the live one's "
            "file as it is now.",
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            "--since",
            metavar="TIME",
            help="The traffic to hold it against: recorded since then, such as 7d (ago).",
        ),
    ] = "7d",
    until: Until = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Replay this model file (.py, or a library's) on the traffic, in the place of the "
            "model NAME or as a new one.",
        ),
    ] = None,
    warm_up: WarmUp = None,
    max_changed: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="At most this share of the answers may change: 1%."),
    ] = None,
    p99: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="At most this p99 of the waits: 40ms."),
    ] = None,
    value_loss: Annotated[
        str | None,
        typer.Option(
            metavar="LOSS",
            help="At most this loss of quality by the metric: 0, 0.5% (points), or a number in its "
            "unit. Fails where outcomes do not tell.",
        ),
    ] = None,
    metric: Metric = None,
    on: On = None,
    show: Annotated[
        int, typer.Option(metavar="N", help="Show this many of the requests that change most.")
    ] = 10,
    style: Annotated[
        Literal["table", "json", "markdown", "junit"] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, json (lines), markdown or junit. Default: a table on a terminal, else "
            "JSON lines.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold an edited schedule against recorded traffic: a test for schedules in CI.

    Decides the recorded requests by the schedule as the file is now, and compares that with what
    clients were answered. With --model, a new model file answers as well: by replay, at the
    recorded pace, as with `rdv replay --speed 1`. A limit that cannot be judged (no outcome is
    known, a model that did not run) counts as broken.

    Exit codes: 0 every limit is held; 99 a limit is broken, or cannot be judged; 1 failed.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.measure import ROBUST, choose_measure
    from rdv.analysis.regress.study import regress as hold
    from rdv.decision import load_decision
    from rdv.decision.schedules import read_schedule, retired_models
    from rdv.rendezvous.schedule import lint_schedule

    limits = _limits(max_changed, p99, value_loss)
    if not 0 <= show <= _SHOWN_MAX:
        raise InvalidOption(f"--show {show}", f"is between 0 and {_SHOWN_MAX:,}")
    decision = load_decision(directory)
    objective = decision.objective
    if objective.quality_min != "none" and metric in (None, objective.metric or None):
        # The promise is in its own metric: with another --metric it is not judged.
        metric = objective.metric or metric
        limits = dataclasses.replace(limits, quality_min=float(objective.quality_min))
    wanted = read_schedule(decision) if schedule is None else given_schedule(decision, schedule)
    since_ns, until_ns = span_ns(against, until)
    until_ns = time.time_ns() if until_ns is None else until_ns
    job = None
    if model is not None:
        job = _replay_job(decision, model, wanted, (since_ns, until_ns), on)
        job = dataclasses.replace(job, warm_up_ns=warm_up_ns(warm_up, is_bounded=True))
    elif warm_up is not None:
        raise InvalidOption("--warm-up", "needs --model, which is replayed")
    with contextlib.ExitStack() as stack:
        recorded = stack.enter_context(Recorded(directory))
        measure = stack.enter_context(
            choose_measure(recorded, decision.outcome, on, metric or "", decision.value, ROBUST)
        )
        options: dict[str, Any] = {"measure": measure}
        if job is not None:
            options |= _replayed(job, measure, recorded, stack)
        progress = stack.enter_context(Progress("decided {:,} requests"))
        found = hold(
            recorded,
            wanted,
            limits,
            since_ns,
            until_ns,
            shown=show,
            findings=lint_schedule(wanted, None, retired_models(decision)),
            progress=progress.advance,
            **options,
        )
    if as_json:
        style = "json"
    elif style is None:
        style = "table" if is_terminal(sys.stdout) or quiet else "json"
    output = Output(as_json=style == "json", quiet=quiet)
    _show(found, decision.name, style, output)
    for line in promise_lines(decision):
        output.note(f"recorded answers: {line}")
    if broken := found.broken():
        raise ThresholdBroken(broken)


def _replay_job(
    decision: DecisionConfig,
    text: str,
    schedule: Schedule,
    span: tuple[int | None, int | None],
    on: str | None,
) -> ReplayJob:
    """Return the replay of NAME=FILE. Raises InvalidOption, NotUsable."""
    from rdv.analysis.regress.replayed import check_schedule
    from rdv.analysis.replay.job import ReplayJob
    from rdv.commands.model.run import settings

    name, separator, path = text.partition("=")
    if not (name and separator and path):
        reason = "is not NAME=FILE"
        raise InvalidOption(f"--model {text}", reason, "For example gbm=models/gbm2.py.")
    config = settings(decision, name, path, None, "--model")
    check_schedule(name, schedule)
    return ReplayJob(decision, name, config, span, on)


def _replayed(
    job: ReplayJob, measure: Measure, recorded: Recorded, stack: contextlib.ExitStack
) -> dict[str, Any]:
    """Replay the model; return what the study needs of it."""
    from rdv.analysis.regress.replayed import replay_model
    from rdv.commands.replay import replaying

    job = dataclasses.replace(job, metric=measure.metric.name)
    model = replay_model(job, recorded, stack, replaying)
    found = {"change": model.change, "notes": [model.sentence()]}
    return found if model.measure is None else {**found, "measure": model.measure}


def _limits(max_changed: str | None, p99: str | None, value_loss: str | None) -> Limits:
    from rdv.analysis.regress.limits import Limits

    return Limits(
        None if max_changed is None else _share("--max-changed", max_changed),
        None if p99 is None else parse_duration_ns(p99) / 1e6,
        None if value_loss is None else _number("--value-loss", value_loss),
    )


def _share(option: str, text: str) -> float:
    """Return a share such as 1% or 0.01. Raises InvalidOption."""
    found = _number(option, text)
    if found > 1:
        raise InvalidOption(f"{option} {text}", "is a share of at most 100%", "For example 1%.")
    return found


def _number(option: str, text: str) -> float:
    """Return a number that is 0 or more; with a %, a hundredth of it. Raises InvalidOption."""
    stripped = text.strip()
    try:
        number = float(stripped.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InvalidOption(f"{option} {text}", "is not a number of 0 or more", "For example 1%.")
    return number / 100 if stripped.endswith("%") else number


def _show(found: Regression, name: str, style: str, output: Output) -> None:
    from rdv.analysis.regress.report import junit, markdown
    from rdv.analysis.whatif import view

    if style in ("markdown", "junit"):
        write = markdown if style == "markdown" else junit
        sys.stdout.flush()
        sys.stdout.buffer.write(write(found, name).encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
        return
    if style == "json":
        output.json({"summary": found.as_json()})
        for check in found.checks:
            output.json({"check": check.as_json()})
        for one in found.worst:
            output.json({"request": vars(one)})
        return
    title = f"{found.whatif.schedule.label}, {found.whatif.recorded.requests:,} requests"
    if found.checks:
        print_table(*found.table(), output, title)
    else:
        output.note("no limit was given (--max-changed, --p99, --value-loss): nothing is judged")
    output.text()
    print_table(*view.figures_table(found.whatif), output, "" if found.checks else title)
    output.text()
    if found.worst:
        print_table(*found.worst_table(), output, "the requests that change most")
        output.text(f"Look at one: rdv explain {name} ID")
    finish(output, found.sentences(), (), found.caveats())
