"""Implement `rdv replay`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.analysis.export.columns import describe
from rdv.analysis.replay.columns import COLUMNS
from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command, check_one_code
from rdv.commands.options import (
    Decision,
    Json,
    Metric,
    ModelFile,
    On,
    Quiet,
    Since,
    Until,
    WarmUp,
    output_file,
    span_ns,
    warm_up_ns,
)
from rdv.commands.output import Column, Output, Progress, counting, number
from rdv.commands.units import milliseconds, percent

if TYPE_CHECKING:
    from rdv.analysis.replay.compare import Against, Comparison
    from rdv.analysis.replay.result import Findings, Pace, Replayed

EXAMPLES = (
    "rdv replay fraud --model models/new.py",
    "rdv replay fraud --model models/new.py --since 1d -o new.parquet",
    "rdv replay fraud --model models/new.py --metric roc-auc",
    "rdv replay fraud --name velocity --since 1d --warm-up 6h",
    "rdv replay fraud --model models/new.py --name mlp --speed 2",
    "rdv replay fraud --name new -- docker run --rm -i registry.example/new:7",
    "rdv replay fraud --model models/new.py --decoy archive --json | jq .comparison",
)
_FIGURES = (Column("what"), Column("value", right=True))
_AGAINST = (
    Column("against"),
    number("requests"),
    Column("same", right=True),
    Column("agreement", right=True),
    Column("answered", right=True),
    Column("right", right=True),
    Column("advantage", right=True),
)
_REASONS_SHOWN = 5


def replay(
    directory: Decision,
    command: Command = None,
    *,
    model: ModelFile = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A declared model, whose settings (batch_max, …) and code are used. Default: a "
            "name made from the file's.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    warm_up: WarmUp = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Replay at N times the recorded pace, by a worker's rules: does the model keep "
            "up?",
        ),
    ] = None,
    decoy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the requests from this decoy's archive."),
    ] = None,
    on: On = None,
    metric: Metric = None,
    out: Annotated[
        str | None, output_file("Write every result into this file, as Parquet.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a model on recorded requests, and compare its answers with the recorded ones.

    The model is called as in production: the same bytes, in batches, in a process of its own. The
    decision's streams are only read. Errors, crashes and hangs of the model are counted and do not
    end the replay. A model with state sees each partition in its order.

    Every batch is as large as allowed; with --speed, as large as they would have been: requests
    come at their pace on a clock that skips pauses, so that it takes no longer than the evaluations
    do.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.api import studies
    from rdv.api.model_code import replayed_model
    from rdv.decision import load_decision

    decision = load_decision(directory)
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidOption("--speed", "is a number above 0")
    if not (model or command or name):
        raise InvalidOption("--model", "a model is needed: a file, a command, or --name")
    check_one_code(model, command, "--model")
    warm_ns = warm_up_ns(warm_up, is_bounded=since is not None)
    replayed_model(decision, model, name, command, "--model")  # a wrong option is said first
    with Recorded(directory) as recorded:
        found = studies.replay(
            recorded,
            decision,
            model,
            span_ns(since, until),
            name=name,
            command=command,
            on=on,
            metric=metric or "",
            speed=speed,
            warm_up_ns=warm_ns,
            decoy=decoy,
            out=out,
            replaying=replaying,
            comparing=partial(counting, "compared {:,} requests"),
            what="--model",
        )
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        output.json(found.as_json())
    else:
        render(found, output)
        if found.replayed.warmed:
            fed = found.replayed.warmed
            output.note(f"{fed:,} requests from before --since were fed first, and do not count")
    if warning := found.warning(is_whole=since is None or warm_ns is None):
        output.note(warning)


def more_help() -> str:
    """Return the rest of the help: the columns of the output file."""
    return "\n".join(["\b", "Columns of the output file:", *describe(COLUMNS)])


@contextlib.contextmanager
def replaying(total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of a replay: how far, how fast, and the time left."""
    began_s = time.monotonic()

    def describe(done: int, total: int) -> str:
        rate = done / max(1e-6, time.monotonic() - began_s)
        if not total:
            return f"replayed {done:,} requests, {rate:,.0f}/s"
        left_s = max(0, total - done) / max(rate, 1e-6)
        bar = "█" * round(20 * min(1, done / total))
        return f"{bar:<20} {done:,} of {total:,} requests, {rate:,.0f}/s, {_time(left_s)} left"

    with Progress(describe, total) as progress:
        yield progress.advance


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def render(findings: Findings, output: Output) -> None:
    """Print the findings for people."""
    found, comparison, pace = findings
    title = f"{found.name}, version {found.version}: {found.requests:,} requests"
    rows = [{"what": what, "value": value} for what, value in _figures(found)]
    output.table(_FIGURES, rows, title)
    if pace is not None:
        output.text()
        rows = [{"what": what, "value": value} for what, value in _pace_figures(pace)]
        output.table(_FIGURES, rows, f"at {pace.speed:g} × the recorded pace")
    if comparison is not None and comparison.requests:
        output.text()
        _render_comparison(comparison, output)
    for reason, count in found.reasons.most_common(_REASONS_SHOWN):
        output.note(f"{count:,} × {reason}")
    if len(found.reasons) > _REASONS_SHOWN:
        output.note(f"… and {len(found.reasons) - _REASONS_SHOWN} other errors")
    for line in dict.fromkeys(found.notes.lines() + _compared_notes(found, comparison)):
        output.note(line)


def _figures(found: Replayed) -> list[tuple[str, str]]:
    from rdv.analysis.replay.result import per_row_ms, quantiles

    rate = found.requests / found.seconds if found.seconds else 0
    figures = [("results", f"{found.results:,}"), ("errors", f"{found.errors:,}")]
    if found.silent:
        figures.append(("no answer", f"{found.silent:,}"))
    if found.refused:
        figures.append(("refused", f"{found.refused:,}"))
    if found.ends:
        figures.append(("process ended", f"{found.ends:,} times"))
    row_ms, batches = per_row_ms(found), quantiles(found.batch_ms)
    if row_ms is not None and batches is not None:
        figures += [
            ("evaluation per request", milliseconds(row_ms)),
            ("evaluation per batch, p50", milliseconds(batches["p50"])),
            ("evaluation per batch, p99", milliseconds(batches["p99"])),
        ]
    return [*figures, ("replayed at", f"{rate:,.0f}/s")]


def _pace_figures(pace: Pace) -> list[tuple[str, str]]:
    from rdv.analysis.replay.result import busy_share, quantiles

    total = max(1, pace.requests)
    figures = [
        ("in time for the deadline", percent(pace.in_time / total)),
        ("within its step of the schedule", percent(pace.in_turn / total)),
        ("refused as behind", f"{pace.behind:,}"),
        ("refused as expired", f"{pace.expired:,}"),
        ("late", f"{pace.late:,}"),
        ("requests per batch, mean", f"{_evaluated(pace) / max(1, pace.batches):.1f}"),
        ("waiting requests, maximum", f"{pace.waiting_max:,}"),
    ]
    if (busy := busy_share(pace)) is not None:
        figures.append(("busy", f"{percent(busy)} of {pace.recorded_s:,.1f} s"))
    if (waited := quantiles(pace.waited_ms)) is not None:
        figures += [(f"score after, {name}", milliseconds(value)) for name, value in waited.items()]
    return figures


def _evaluated(pace: Pace) -> int:
    return pace.in_time + pace.late + pace.failed


def _render_comparison(comparison: Comparison, output: Output) -> None:
    rows = []
    for one in comparison.against:
        count = one.pairs.count
        accuracy, advantage = one.accuracy(), one.advantage()
        rows.append(
            {
                "against": one.name or "(answers given)",
                "requests": count,
                "same": percent(one.pairs.equal / count) if count else "-",
                "agreement": _agreement(one, is_number=comparison.is_number),
                "answered": percent(one.known / known) if (known := comparison.known) else "-",
                "right": "-" if accuracy is None else percent(accuracy.estimate),
                "advantage": "-" if advantage is None else _points(advantage.difference),
            }
        )
    output.table(_AGAINST, rows, "against the recorded answers")
    if (accuracy := comparison.accuracy()) is not None:
        missing = comparison.unanswered
        ends = f"{percent(accuracy.low)} – {percent(accuracy.high)}"
        output.text(
            f"right: {percent(accuracy.estimate)} "
            f"({ends if accuracy.bounded else accuracy.method}) of "
            f"{comparison.known:,} whose outcome is known"
            + (f"; {missing:,} of them got no answer" if missing else "")
        )
        said = comparison.extract.reading.sentence()
        rate = comparison.base_rate
        output.note(f"{said}; {rate}" if rate else said)
    if comparison.metric is not None and comparison.metric.name != "accuracy":
        for sentence in comparison.sentences():
            output.text(sentence)
        if comparison.sentences():
            output.note(comparison.measured)
    if lacking := comparison.lacking():
        output.note(f"{', '.join(lacking)} never answers with what is judged: not compared")
    if comparison.problem:
        output.note(f"nothing can be said about right answers: {comparison.problem}")
    what = "rank correlation" if comparison.is_number else "Cohen's kappa"
    legend = f"agreement: {what}"
    if comparison.known:
        legend += "; answered: share of the known outcomes, right: of those that it answered"
        legend += "; advantage: share of right answers beyond the other's, on the same requests"
    output.note(legend)


def _agreement(one: Against, *, is_number: bool) -> str:
    found: Any = one.agreement(is_number=is_number)
    if found is None:
        return "-"
    value = found.correlation if is_number else found.kappa
    if math.isnan(value.estimate):
        return "-"
    return f"{value.estimate:.3f} ({value.low:.3f} – {value.high:.3f})"


def _points(difference: Any) -> str:
    low, high = difference.low * 100, difference.high * 100
    if not difference.bounded:
        return f"{difference.estimate * 100:+.2f} points ({difference.method})"
    return f"{difference.estimate * 100:+.2f} points ({low:+.2f} – {high:+.2f})"


def _compared_notes(found: Replayed, comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["nothing is compared: the model gave no result"]
    notes = []
    if missing := found.requests - comparison.requests:
        notes.append(f"{missing:,} replayed requests are no longer in the log: not compared")
    if comparison.requests and not any(one.pairs.count for one in comparison.against):
        notes.append("no answer can be compared with a recorded one: name a field, --on FIELD")
    return notes + comparison.notes.lines()
