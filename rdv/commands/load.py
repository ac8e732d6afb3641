"""Implement `rdv load`: lines while it runs, tables or one JSON object at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.errors import InvalidOption, ThresholdBroken, Unanswered
from rdv.commands.exits import INTERRUPTED
from rdv.commands.options import (
    Decision,
    OneJson,
    Quiet,
    RequestSchedule,
    need_file,
    schedule_of_request,
)
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import is_terminal, paint
from rdv.commands.units import digits, milliseconds, parse_duration_ns, percent

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.load.figures import Figures
    from rdv.load.generator import Threshold
    from rdv.load.rows import Row

EXAMPLES = (
    "rdv load fraud --rate 500 --duration 10s",
    "rdv load mail --rate 50 --data mail/requests.jsonl",
    "rdv load fraud --closed --connections 32 --duration 5s",
    "rdv load fraud --rate 1000 --fail-if 'p99>50ms' --fail-if 'misses>0' --json",
)
_LINES_MAX = 60
_RATE_MAX = 1_000_000
"""The maximum rate in requests a second: what the generator can do."""


def load(
    directory: Decision,
    *,
    rate: Annotated[
        str, typer.Option(metavar="N", help="Requests per second, whatever the answers take.")
    ] = "100",
    duration: Annotated[str, typer.Option(metavar="DURATION", help="Duration of the run.")] = "10s",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='JSON lines, sent in turn: the data alone, or {"data": …, "key": …, "truth": …}. '
            "Default: DIR/requests.jsonl, if there is one.",
        ),
    ] = None,
    key_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The field of the data that is the key.")
    ] = None,
    schedule: RequestSchedule = None,
    connections: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Maximum number of connections, over all proxies. Default: 256, with --closed 32.",
            show_default=False,
        ),
    ] = None,
    closed: Annotated[
        bool,
        typer.Option(
            "--closed",
            help="Closed loop: each connection sends its next request when it has its answer. "
            "Measures throughput; the latencies leave out waits that an overloaded server "
            "causes.",
        ),
    ] = False,
    arrivals: Annotated[
        Literal["constant", "poisson"],
        typer.Option(help="constant: evenly. poisson: as independent clients arrive."),
    ] = "constant",
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 99 if the condition is true: 'p99>50ms', 'misses>0', 'errors>0.1%', "
            "'default>5%'. May be given several times.",
        ),
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Print a line for each interval on stderr. Default: on a terminal.",
        ),
    ] = None,
    as_json: OneJson = False,
    quiet: Quiet = False,
) -> None:
    """Send requests at a rate, and measure the answers.

    Latency is counted from the moment when a request was due, not when it could be sent: a server
    that stalls is charged for all the requests that it delayed. A miss is an answer later than its
    SLA plus 10 ms. If the rows include the truth, the share of right answers is reported.

    Proxies that do not listen at the start are left out. A request that fails is not sent again.

    Exit codes: 0; 1 when a request got no answer (no connection, a connection lost, nothing in
    time, a 5xx, a 4xx other than 429); 4 when no proxy answers at all; 99 when a --fail-if
    condition came true.
    """
    from rdv.decision import load_decision
    from rdv.decision.proxies import find_proxies, listening
    from rdv.decision.schedules import longest_wait_ms
    from rdv.load.run import LoadPlan, LoadRun

    thresholds = [_threshold(text) for text in fail_if or ()]
    seconds = _seconds(duration)
    wires = _connections((32 if closed else 256) if connections is None else connections)
    decision = load_decision(directory)
    longest_ms = longest_wait_ms(decision)
    rate_s = None if closed else _rate(rate)
    plan = LoadPlan(rate_s, seconds, wires, arrivals == "poisson", longest_ms)
    rows = _rows(decision, data, key_field, schedule)
    output = Output(as_json=as_json, quiet=quiet)
    shows = (is_terminal(sys.stderr) and not quiet) if progress is None else progress
    if shows:
        output.note(paint(PROGRESS_HEAD, "bold", sys.stderr))
    run = LoadRun(
        plan,
        proxies := listening(find_proxies(decision)),
        rows,
        _figures_maker(decision, rows),
        _show if shows else None,
        max(1.0, round(seconds / _LINES_MAX)),
    )
    figures = run.run()
    if not figures.tally.statuses and figures.tally.failures:
        raise proxies[0].unreachable(f"no request of {figures.tally.requests:,} was answered")
    result = summary(figures, run.seconds, plan.mode)
    broken = _broken(thresholds, figures)
    if as_json:
        output.json(result | {"broken": broken})
    else:
        render(result, output)
    if broken:
        raise ThresholdBroken(tuple(broken))
    if run.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if unanswered := figures.tally.unanswered():
        why = tuple(f"{reason} {count:,}" for reason, count in unanswered.items())
        raise Unanswered(figures.tally.requests, sum(unanswered.values()), why)


def _show(at_s: float, figures: Figures, seconds: float) -> None:
    sys.stderr.write(progress_line(at_s, figures, seconds) + "\n")
    sys.stderr.flush()


def _broken(thresholds: list[Threshold], figures: Figures) -> list[str]:
    measured = figures.measured()
    return [t.explain(measured) for t in thresholds if t.violated(measured)]


def _figures_maker(decision: DecisionConfig, rows: list[Row]) -> Callable[[], Figures]:
    from rdv.decision.schedules import ScheduleSlas
    from rdv.load.figures import Figures

    slas = ScheduleSlas(decision)
    return lambda: Figures(rows, slas.sla_ms)


def _rows(
    decision: DecisionConfig, data: str | None, key_field: str | None, schedule: str | None
) -> list[Row]:
    from rdv.load.rows import make_rows, read_rows

    extra: dict[str, Any] = {} if schedule is None else {"schedule": schedule_of_request(schedule)}
    sample = decision.path("requests.jsonl")
    if data is not None:
        need_file("--data", data)
        return read_rows(data, key_field, extra)
    if os.path.isfile(sample):
        return read_rows(sample, key_field, extra)
    return make_rows([b"{}"], key_field, extra)


def _threshold(text: str) -> Threshold:
    from rdv.load.generator import InvalidThreshold, parse_threshold

    try:
        return parse_threshold(text)
    except InvalidThreshold as error:
        raise InvalidOption("--fail-if", error.text(), error.hint()) from None


def _rate(text: str) -> float:
    advice = "Give requests per second, for example --rate 100; --closed sends as fast as it can."
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        raise InvalidOption("--rate", f"{text!r} is not a number", advice) from None
    if not 0 < rate <= _RATE_MAX:
        reason = f"{text} is not a rate: it must be more than 0 and at most {_RATE_MAX:,}"
        raise InvalidOption("--rate", reason, advice)
    return rate


def _seconds(text: str) -> float:
    seconds = parse_duration_ns(text) / 1e9
    if seconds <= 0:
        raise InvalidOption("--duration", f"{text} must be longer than 0", "For example 10s.")
    return seconds


def _connections(count: int) -> int:
    if count < 1:
        raise InvalidOption("--connections", f"{count} is too few: it must be 1 or more")
    return count


_PERCENTS = (50.0, 90.0, 99.0, 99.9)
_PROGRESS = "{:>5} {:>7} {:>7} {:>7} {:>9} {:>8} {:>7} {:>7} {:>6} {:>6}"
PROGRESS_HEAD = _PROGRESS.format(
    "s",
    "req/s",
    "p50 ms",
    "p99 ms",
    "preferred",
    "fallback",
    "default",
    "right",
    "misses",
    "errors",
)
_MODELS = (
    Column("model"),
    Column("kind"),
    number("answers"),
    number("share", show=percent),
    number("right", show=percent),
)


def progress_line(at_s: float, figures: Figures, seconds: float) -> str:
    """Return the line for one interval of a run."""
    p50, p99 = figures.tally.latency.percentiles((50, 99))
    right = figures.right_share()
    return _PROGRESS.format(
        f"{at_s:.0f}",
        f"{figures.tally.requests / max(seconds, 1e-9):,.0f}",
        digits(p50 / 1e6),
        digits(p99 / 1e6),
        *(percent(figures.kind_share(kind)) for kind in ("preferred", "fallback", "default")),
        "-" if right is None else percent(right),
        f"{figures.missed_by_client:,}",
        f"{figures.tally.errors:,}",
    )


def summary(figures: Figures, seconds: float, mode: str) -> dict[str, Any]:
    """Return the whole run as one object."""
    tally = figures.tally
    return {
        "mode": mode,
        "seconds": round(seconds, 3),
        "requests": tally.requests,
        "rate": tally.requests / seconds if seconds else 0.0,
        "latency_ms": _latency_ms(tally.latency),
        "service_ms": _latency_ms(tally.service),
        "kinds": {k: figures.kind_share(k) for k in ("preferred", "fallback", "default")},
        "models": figures.models(),
        "right": figures.right_share(),
        "misses": figures.missed_by_client,
        "misses_by_proxy": figures.missed_by_proxy,
        "errors": tally.errors,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "failures": dict(tally.failures),
    }


def _latency_ms(histogram: Any) -> dict[str, float]:
    values = dict(zip(_PERCENTS, histogram.percentiles(_PERCENTS), strict=True))
    shown = {f"p{percent:g}": value / 1e6 for percent, value in values.items()}
    return shown | {"mean": histogram.mean / 1e6, "max": histogram.max / 1e6}


def render(run: dict[str, Any], output: Output) -> None:
    """Print the results of a run for people."""
    output.text(
        f"{run['requests']:,} requests in {run['seconds']:.1f} s: "
        f"{run['rate']:,.0f}/s, {run['mode']}"
    )
    times = "   ".join(f"{name} {milliseconds(value)}" for name, value in run["latency_ms"].items())
    output.text(f"latency  {times}")
    output.text()
    has_truth = any(row["right"] is not None for row in run["models"])
    columns = [column for column in _MODELS if has_truth or column.key != "right"]
    output.table(columns, run["models"])
    if run["models"]:
        output.text()
    if run["right"] is not None:
        output.text(f"right    {percent(run['right'])} of the models' answers")
    output.text(_misses(run))
    output.text(_errors(run))


def _misses(run: dict[str, Any]) -> str:
    text = (
        f"misses   {run['misses']:,} later than SLA + 10 ms from the scheduled send, "
        f"{run['misses_by_proxy']:,} by the proxy's clock"
    )
    return paint(text, "yellow", sys.stdout) if run["misses"] else text


def _errors(run: dict[str, Any]) -> str:
    if not run["errors"]:
        return "errors   none"
    bad = {f"status {s}": n for s, n in run["statuses"].items() if not s.startswith("2")}
    reasons = ", ".join(f"{what}: {count:,}" for what, count in (bad | run["failures"]).items())
    return paint(f"errors   {run['errors']:,} ({reasons})", "red", sys.stdout)
