"""Implement `rdv status`: the same blocks once, or repeatedly on a live screen."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rdv.commands.options import Decision
from rdv.commands.output import Column, Output, number
from rdv.commands.pages import promise_of
from rdv.commands.terminal import Style, fit, has_color, is_terminal, paint, printable, width
from rdv.commands.units import digits, milliseconds, percent
from rdv.status.models import AFTER_DECISION, unlogged_text
from rdv.status.trend import sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rdv.decision import Decision as DecisionConfig
    from rdv.decision.ramp import Ramp
    from rdv.serve.observer import Observer

EXAMPLES = (
    "rdv status fraud",
    "rdv status fraud --watch",
    "rdv status fraud --json | jq .results.kinds",
)
_REFRESH_S = 1.0
_TOGETHER_S = 0.1
"""How long a change of a process's state waits for others, on a live screen."""
_SPARK_COLUMNS_MAX = 60
_SPARK_NAME_COLUMNS_MAX = 24
_SPARK_VALUE_COLUMNS = 16
_SPARK_MODELS_MAX = 8
_WIDTH_MIN = 40
_WHY_MAX = 5
"""How many reasons of restarts are shown."""
_GAP_COLUMNS = 3
_NAME_COLUMNS = 10
"""The width of the name that a line begins with."""


def status(
    directory: Decision,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh every second, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --watch, one a second.")
    ] = False,
) -> None:
    """Show which processes run, which models answer, and how fast.

    Answers, their kinds and latency are those of the last ten seconds, from the results stream.
    Latency is the server's: from the request's arrival at the proxy to the decision. Scores,
    refusals and failures are counted since each process started; lag is the number of requests that
    a model has not evaluated yet. With --watch it also shows the last five minutes as sparklines,
    and how fast answers that are late or defaults spend the error budget (0.1 % of the answers; 1x
    spends exactly that). Without --watch, the quality that [objective] of rdv.toml
    promises is held against the newest outcomes.
    """
    from rdv.serve.observer import Observer, decision_in_force

    output = Output(as_json=as_json)
    decision = decision_in_force(directory)
    with Observer(decision, has_trend=watch) as observer:
        if watch:
            _watch(observer, output)
        elif as_json:
            promise = promise_of(decision)
            quality = None if promise is None else promise.as_json()
            ramp = ramp_of(decision)
            said = None if ramp is None else {"text": ramp_line(decision, ramp), **_as_values(ramp)}
            output.json({**observer.look(), "quality": quality, "ramp": said})
        else:
            render(observer.look(), output)
            if (ramp := ramp_of(decision)) is not None:
                output.text()
                output.text(ramp_line(decision, ramp))
            if (promise := promise_of(decision)) is not None:
                output.text()
                output.text(promise.sentence())


def ramp_of(decision: DecisionConfig) -> Ramp | None:
    """Return the promotion in stages that has begun and not ended.

    Raises RampUnreadable, SystemFaults.
    """
    from rdv.decision.ramp import read_ramp
    from rdv.stream.errors import NotPermitted

    try:
        return read_ramp(decision.directory)
    except NotPermitted:  # only the owner may look into .rdv
        return None


def _as_values(ramp: Ramp) -> dict[str, Any]:
    keys = ("champion", "challenger", "schedule", "share", "began_ns", "looks", "undo")
    return {key: getattr(ramp, key) for key in keys}


def ramp_line(decision: DecisionConfig, ramp: Ramp) -> str:
    """Return where a promotion in stages stands, and how it goes on."""
    begun = time.strftime("%H:%M:%S", time.localtime(ramp.began_ns / 1e9))
    now = f"{percent(ramp.share)} of the keys since {begun}" if ramp.share else "not in force yet"
    if ramp.undo:
        now = f"being taken back ({ramp.undo})"
    return (
        f"ramp      {ramp.challenger} in place of {ramp.champion}: {now}; continue it: rdv promote "
        f"{decision.directory} {ramp.challenger} --ramp SHARES; take it back: rdv promote "
        f"{decision.directory} --abort"
    )


def _watch(observer: Observer, output: Output) -> None:
    if output.as_json or not is_terminal(sys.stdout):
        while True:
            _show_once(observer, output)
            _until(observer, time.monotonic() + _REFRESH_S)
    from rich.live import Live

    with Live(renderable(observer.look()), screen=True, auto_refresh=False) as live:
        while True:
            _until(observer, time.monotonic() + _REFRESH_S, on_change=True)
            live.update(renderable(observer.look()), refresh=True)


def _show_once(observer: Observer, output: Output) -> None:
    if output.as_json:
        output.json(observer.look())
    else:
        render(observer.look(), output)
        output.text()
        sys.stdout.flush()


def _until(observer: Observer, end_s: float, *, on_change: bool = False) -> None:
    """Read the processes' reports until `end_s`; with `on_change` until a process's state changes.

    Changes that come at once are shown together.
    """
    while (left_s := end_s - time.monotonic()) > 0:
        if observer.wait(left_s) and on_change:
            end_s, on_change = min(end_s, time.monotonic() + _TOGETHER_S), False


_STATE_STYLES: dict[str, Style] = {
    "ready": "green",
    "starting": "yellow",
    "failing": "red",
    "restarting": "red",
    "waiting": "red",
    "silent": "red",
    "dead": "red",
    "not running": "red",
    "asleep": "dim",
    "stopped": "dim",
}
_MODELS = (
    Column("model"),
    Column("state"),
    number("live", show=str),
    Column("version"),
    number("answers"),
    number("share", show=percent),
    number("lag"),
    number("scored"),
    number("refused"),
    number("failed"),
    number("row_ms", "ms/row", digits),
)
_LEFT_OUT_FIRST = ("version", "scored", "live", "failed")
"""The columns of models that are left out, in this order, where the terminal is too narrow."""
_PROCESSES = (
    Column("name", "process"),
    Column("state"),
    number("pid", show=str),
    number("age_s", "status s ago", "{:,.1f}".format),
    Column("does"),
)


class Block(NamedTuple):
    """A titled block has a table, lines of text, or both."""

    title: str
    columns: Sequence[Column] = ()
    rows: Sequence[dict[str, Any]] = ()
    lines: Sequence[str] = ()


def blocks(report: dict[str, Any]) -> Iterator[Block]:
    """Yield all blocks, in order."""
    yield Block(_headline(report), lines=_answers(report))
    if trend := report.get("trend"):
        minutes = len(trend["rates"]) * trend["step_s"] // 60
        yield Block(f"last {minutes} minutes", lines=_trend(trend))
    answers = max(1, report["results"]["answers"])
    models = [
        row | {"share": row["answers"] / answers, "live": _live(row)} for row in report["models"]
    ]
    notes = [*_notes(report["models"]), *_registry(report)]
    yield Block("models", _MODELS, models, notes)
    processes = [row | {"does": _does(row)} for row in report["processes"]]
    yield Block("processes", _PROCESSES, processes)


def _trend(trend: dict[str, Any]) -> list[str]:
    """Return a sparkline for each figure, and what is left of the error budget."""
    rows: list[tuple[str, Sequence[float | None], float | None, Callable[[float], str]]] = [
        ("answers/s", trend["rates"], None, "{:,.1f}".format),
        ("p99", trend["p99_ms"], None, milliseconds),
        ("defaults", trend["defaults"], None, percent),
    ]
    rows += [(f"  {name}", shares, 1.0, percent) for name, shares in trend["models"].items()]
    rows = rows[: 3 + _SPARK_MODELS_MAX]
    names = min(_SPARK_NAME_COLUMNS_MAX, max(len(name) for name, *_ in rows))
    columns = width() - names - _SPARK_VALUE_COLUMNS
    columns = max(5, min(_SPARK_COLUMNS_MAX, columns))
    lines = []
    for name, values, most, shown in rows:
        last = next((value for value in reversed(values) if value is not None), None)
        spark = sparkline(values, columns, most)
        text = "" if last is None else shown(last)
        lines.append(f"{fit(name, names):{names}} {spark} {text}".rstrip())
    budget = trend["budget"]
    if budget["burn_rate"] is not None:
        lines.append(
            f"budget: burns at {budget['burn_rate']:,.1f}x: {percent(budget['share'])} of "
            f"{budget['answers']:,} answers late or a default, {percent(1 - budget['target'])} are "
            "allowed"
        )
    return lines


def _live(row: dict[str, Any]) -> str:
    """Return the number of running instances; also the range, if it depends on the load."""
    scaling = row["scaling"]
    if scaling is None:
        return f"{row['instances']}"
    return f"{row['instances']} of {scaling['min']}..{scaling['max']}"


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return lines about models: changes of their versions, their numbers of instances."""
    changed = [
        f"{row['model']}: version {row['version_before']} → {row['version']}"
        for row in rows
        if row.get("version_before") and row["version"]
    ]
    return [*changed, *_scaled(rows)]


def _registry(report: dict[str, Any]) -> list[str]:
    """Return which versions of an MLflow registry run, and what asks for a promotion."""
    lines = []
    for row in report.get("registry", ()):
        has = ", ".join(f"{model} version {version}" for model, version in row["versions"].items())
        lines.append(f"{row['uri']}: {has or 'never downloaded'}")
        if asks := row["asks"]:
            judged = f"the gate says {asks['verdict']} after {asks['scored']:,} requests"
            why = f" ({asks['text']})" if asks["text"] else ""
            lines.append(
                f"{asks['model']} asks for a promotion: "
                f"{judged + why if asks['verdict'] else 'the gate has not judged it yet'}; "
                f"rdv promote {report['directory']} {asks['model']} --over {asks['over']}"
            )
        if count := row["not_written_back"]:
            lines.append(f"{row['uri']}: {count} promotions are not written to the registry yet")
    return lines


def _scaled(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the reasons for the numbers of instances."""
    return [
        f"{row['model']} has {scaling['wanted']} since "
        f"{time.strftime('%H:%M:%S', time.localtime(scaling['since_ns'] / 1e9))}: "
        f"{scaling['reason']}"
        for row in rows
        if (scaling := row["scaling"]) is not None
    ]


def _headline(report: dict[str, Any]) -> str:
    name = report["decision"]
    if report["served_by_unknown"]:
        return f"{name}: whether it is served cannot be seen: {report['served_by_unknown']}"
    if report["served_by"] is None:
        return f"{name} is not served: rdv serve {report['directory']}"
    where = ", ".join(f"http://{address}" for address in report["addresses"])
    return f"{name} at {where}, process {report['served_by']}, for {_span(report['running_s'])}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _answers(report: dict[str, Any]) -> list[str]:
    results, proxies = report["results"], report["proxies"]
    window = f"last {results['window_s']:.3g} s"
    kinds = "  ".join(f"{kind} {percent(share)}" for kind, share in results["kinds"].items())
    waited = "  ".join(
        f"{name} {milliseconds(value)}"
        for name, value in results["waited_ms"].items()
        if value is not None
    )
    lines = [f"schedule  {', '.join(results['schedules']) or report['schedule']}"]
    if results["answers"]:
        misses = f"{results['misses']:,} misses (SLA + 10 ms)"
        lines += [
            f"answers   {results['rate']:,.1f}/s in the {window}, {misses}",
            f"kinds     {kinds}",
            f"decided   {waited or '?'}  after the request",
        ]
    else:
        lines.append(f"answers   none in the {window}")
    if results["off_record"]:
        lines.append(f"          {results['off_record']:,} answers are not in the log, or not yet")
    lines += [f"why       {printable(text)}" for text in report.get("why", ())[:_WHY_MAX]]
    lines += [f"not in force  {fault}" for fault in report["not_in_force"]]
    if report["at_next_start"]:
        keys = ", ".join(report["at_next_start"])
        lines.append(f"at the next start  {keys}: edited while it is served")
    lines += [f"cohort    {name}: {n:,} answers" for name, n in results["cohorts"].items()]
    if report["served_by"] is not None:
        lines.append(
            f"proxies   {proxies['requests']:,} requests since their start, "
            f"{proxies['refused']:,} refused, {proxies['backstop']:,} answered by the proxy, "
            f"{proxies['misses']:,} misses, {proxies['in_flight']:,} in flight"
        )
    if text := unlogged_text(report["unlogged"]):
        lines.append(f"not logged  {text}")
    for one in report["unread"]:
        lines.append(f"unreadable  {one['records']:,} records for {one['name']}:")
        lines += [f"            {what}" for what in one["what"]]
    return lines


def _does(row: dict[str, Any]) -> str:
    """Return the most informative counters of a process."""
    figures, role = row.get("figures", {}), row.get("role")
    keys = {
        "server": ("requests", "scores", "open", AFTER_DECISION, "malformed", "lost_results"),
        "proxy": ("requests", "in_flight", "refused", "backstop", "misses"),
        "worker": ("scored", "refused", "failed", "waiting"),
        "traces": ("spans", "decisions", "dropped", "rejected"),
    }.get(str(role), ())
    shown = [
        f"{key.replace('_', ' ')} {figures[key]:,}"
        for position, key in enumerate(keys)
        if isinstance(figures.get(key), int) and (figures[key] or position == 0)
    ]
    shown += [str(figures[key]) for key in ("trouble", "enricher_fault") if figures.get(key)]
    return ", ".join(shown)


def render(report: dict[str, Any], output: Output) -> None:
    """Print the blocks once."""
    for position, block in enumerate(blocks(report)):
        if position:
            output.text()
        output.text(paint(block.title, "bold", sys.stdout))
        for line in _folded(block.lines) if is_terminal(sys.stdout) else block.lines:
            output.text(line)
        columns = _fitting(block) if is_terminal(sys.stdout) else block.columns
        output.table(columns, block.rows)


def renderable(report: dict[str, Any]) -> RenderableType:
    """Return the blocks for a live screen."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    color = has_color(sys.stdout)
    parts: list[RenderableType] = []
    for block in blocks(report):
        parts.append(Text(block.title, style="bold" if color else ""))
        parts += [Text(line) for line in _folded(block.lines)]
        if block.columns:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
            columns = _fitting(block)
            for column in columns:
                justify = "right" if column.right else "left"
                is_last = column is columns[-1]
                table.add_column(column.head, justify=justify, no_wrap=not is_last)  # type: ignore[arg-type]
            for row in block.rows:
                table.add_row(*(_cell(column, row, color=color) for column in columns))
            parts.append(table)
        parts.append(Text())
    return Group(*parts[:-1])


def _folded(lines: Sequence[str]) -> list[str]:
    """Return the lines as long as the terminal is wide; what follows is indented."""
    return [part for line in lines for part in _fold(line, max(_WIDTH_MIN, width()))]


def _fold(line: str, columns: int) -> list[str]:
    if len(line) <= columns:
        return [line]
    name = line[:_NAME_COLUMNS] if line[_NAME_COLUMNS - 1] == " " else ""
    pieces = textwrap.wrap(line[len(name) :], columns - _NAME_COLUMNS) or [""]
    return [(name if n == 0 else " " * _NAME_COLUMNS) + piece for n, piece in enumerate(pieces)]


def _fitting(block: Block) -> list[Column]:
    """Return the columns that fit; the last one of a table of processes is folded instead."""
    columns = list(block.columns)
    for key in _LEFT_OUT_FIRST:
        widths = (
            max(len(column.head), *(len(column.cell(row)) for row in block.rows), 0)
            for column in columns
        )
        if (
            columns[-1:] != list(_MODELS[-1:])
            or sum(widths) + _GAP_COLUMNS * (len(columns) - 1) <= width()
        ):
            break
        columns = [column for column in columns if column.key != key]
    return columns


def _cell(column: Column, row: dict[str, Any], *, color: bool) -> Any:
    from rich.text import Text

    style = _STATE_STYLES.get(str(row.get("state")), "") if column.key == "state" and color else ""
    return Text(column.cell(row), style=style)
