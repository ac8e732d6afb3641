"""Implement `rdv replay`."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.analysis.replay.rows import describe_results
from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command
from rdv.commands.options import Decision, Json, On, Quiet, Since, Until, need_folder, span_ns
from rdv.commands.output import Output, Progress

if TYPE_CHECKING:
    from rdv.analysis.replay.compare import Comparison
    from rdv.analysis.replay.evaluator import Loading
    from rdv.analysis.replay.paced import Pace
    from rdv.analysis.replay.study import Replayed, Requests
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import ModelConfig

EXAMPLES = (
    "rdv replay fraud --model models/new.py",
    "rdv replay fraud --model models/new.py --since 1d -o new.parquet",
    "rdv replay fraud --model models/new.py --name mlp --speed 2",
    "rdv replay fraud --name new -- docker run --rm -i registry.example/new:7",
    "rdv replay fraud --model models/new.py --decoy archive --json | jq .comparison",
)


def replay(
    directory: Decision,
    command: Command = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .py, .joblib or .pkl file.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A declared model's name: its settings (batch_max, …) and code; else as the file.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Would it keep up? At N times the recorded pace, with a worker's own rules.",
        ),
    ] = None,
    decoy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the requests from this decoy's archive."),
    ] = None,
    on: On = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Every result, as Parquet.", callback=need_folder
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try a model on recorded requests, and compare it with what is on record.

    It is called as in production: the same bytes, in batches, in a process of its own. The
    decision's streams are only read. Errors, crashes and hangs of the model are counted and do not
    end the replay. A model with state sees each partition in its order.

    Every batch is as large as allowed; with --speed, as large as they would have been: requests
    come at their pace on a clock that skips pauses, so that it takes no longer than the evaluations
    do.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.decision import load_decision

    decision = load_decision(directory)
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidOption("--speed", "is a number above 0")
    name, config = _model(decision, name, model, command)
    span = span_ns(since, until)
    span = (span[0], time.time_ns() if span[1] is None else span[1])
    with Recorded(directory) as recorded:
        job = _Job(recorded, decision, name, config, span, on)
        found, comparison, pace = job.run(decoy, speed, out)
    output = Output(as_json=as_json, quiet=quiet)
    from rdv.commands.replaying import report

    if as_json:
        output.json(report.as_json(found, comparison, pace))
    else:
        report.render(found, comparison, pace, output)


replay.__doc__ = f"""{replay.__doc__}

\b
Columns of the output file:
{chr(10).join(describe_results())}
"""


def _model(
    decision: DecisionConfig, name: str | None, model: str | None, command: list[str] | None
) -> tuple[str, ModelConfig]:
    """Return the model's name and settings: those of a declared model with other code, or the
    defaults.

    Raises ModelNotFound, NotUsable, InvalidOption.
    """
    from rdv.commands.model.run import settings

    if not (model or command or name):
        raise InvalidOption("--model", "which model? Give a file, a command, or --name")
    if name is None:
        name = os.path.splitext(os.path.basename(model or (command or ["model"])[0]))[0]
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-_") or "model"
    config = settings(decision, name, model, command, "--model")
    if config.builtin == "decoy":
        raise InvalidOption("--name", f"{name} is a decoy: it says nothing")
    return name, config


_APART_NS = 60 * 10**9


class _Job:
    """One replay, put together from its parts."""

    def __init__(
        self,
        recorded: Any,
        decision: DecisionConfig,
        name: str,
        config: ModelConfig,
        span: tuple[int | None, int | None],
        on: str | None,
    ) -> None:
        self._recorded, self._decision = recorded, decision
        self._name, self._config = name, config
        self._span, self._on = span, on

    def run(
        self, decoy: str | None, speed: float | None, out: str | None
    ) -> tuple[Replayed, Comparison | None, Pace | None]:
        from rdv.analysis.errors import NothingRecorded
        from rdv.analysis.replay.compare import compare, extract_for, recorded_answers
        from rdv.analysis.replay.evaluator import Evaluator
        from rdv.analysis.replay.rows import ResultFile, Spill
        from rdv.analysis.replay.study import Recorder, Replayed

        answers = recorded_answers(self._recorded)
        with contextlib.ExitStack() as stack:
            spill = stack.enter_context(contextlib.closing(Spill()))
            evaluator = stack.enter_context(Evaluator(self._loading()))
            found = Replayed(self._name, evaluator.version)
            keep = None
            if out is not None:
                keep = stack.enter_context(ResultFile(out, evaluator.version)).add
            recorder = Recorder(
                found, spill, lambda first: extract_for(self._on, first, answers), keep
            )
            source = self._source(decoy, evaluator.takes)
            pace = self._replay(source, evaluator, recorder, found, speed)
            evaluator.close()
            if not found.requests:
                raise NothingRecorded(self._decision.directory)
            if recorder.extract is None:
                return found, None, pace

            def describe(done: int, _: int) -> str:
                return f"compared {done:,} requests"

            span = self._span if decoy is None else _widened(*self._span)
            with Progress(describe) as progress:
                comparison = compare(
                    self._recorded, spill, recorder.extract, *span, progress.advance
                )
        return found, comparison, pace

    def _replay(
        self, source: Requests, evaluator: Any, recorder: Any, found: Replayed, speed: float | None
    ) -> Pace | None:
        from rdv.analysis.replay.paced import replay_paced
        from rdv.analysis.replay.study import replay as run
        from rdv.commands.replaying.rules import WorkerRules

        with Progress(_Told(), source.total) as progress:
            if speed is not None:
                rules = WorkerRules(self._config)
                return replay_paced(
                    source,
                    evaluator,
                    recorder,
                    found,
                    rules,
                    speed=speed,
                    progress=progress.advance,
                )
            batch_max = self._config.batch_max
            run(
                source,
                evaluator,
                recorder,
                found,
                batch_max=batch_max,
                progress=progress.advance,
            )
        return None

    def _loading(self) -> Loading:
        from rdv.analysis.replay.evaluator import Loading

        config = self._config
        return Loading(
            self._decision.directory,
            self._name,
            config.opening(),
            config.start_timeout_ms,
            config.predict_timeout_ms,
            (*self._decision.env, *config.env),
        )

    def _source(self, decoy: str | None, takes: Any) -> Requests:
        from rdv.analysis.replay.source import ArchiveSource, InputSource

        if decoy is not None:
            return ArchiveSource(self._decision.directory, decoy, takes, *self._span)
        return InputSource(self._recorded, takes, *self._span)


def _widened(since_ns: int | None, until_ns: int | None) -> tuple[int | None, int | None]:
    """Widen a span, since archives have the proxies' times and the log has append times."""
    return (
        None if since_ns is None else max(0, since_ns - _APART_NS),
        None if until_ns is None else until_ns + _APART_NS,
    )


class _Told:
    """Describe the progress of a replay: how far, how fast, and the time left."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self, done: int, total: int) -> str:
        rate = done / max(1e-6, time.monotonic() - self._began_s)
        if not total:
            return f"replayed {done:,} requests, {rate:,.0f}/s"
        left_s = max(0, total - done) / max(rate, 1e-6)
        bar = "█" * round(20 * min(1, done / total))
        return f"{bar:<20} {done:,} of {total:,} requests, {rate:,.0f}/s, {_time(left_s)} left"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
