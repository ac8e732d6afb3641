"""Show a load run: lines while it runs, tables or one JSON object at its end."""

from __future__ import annotations

import sys
from typing import Any

from rdv.commands.loading.figures import Figures
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import paint

_PERCENTS = (50.0, 90.0, 99.0, 99.9)
_PROGRESS = "{:>6}  {:>7}  {:>9}  {:>9}  {:>9}  {:>8}  {:>7}  {:>6}  {:>6}  {:>6}"
PROGRESS_HEAD = _PROGRESS.format(
    "s", "req/s", "p50", "p99", "preferred", "fallback", "default", "right", "misses", "errors"
)
_MODELS = (
    Column("model"),
    Column("kind"),
    number("answers"),
    number("share", show="{:.2%}".format),
    number("right", show="{:.2%}".format),
)


def progress_line(at_s: float, figures: Figures, seconds: float) -> str:
    """Return the line for one interval of a run."""
    p50, p99 = figures.tally.latency.percentiles((50, 99))
    right = figures.right_share()
    return _PROGRESS.format(
        f"{at_s:.0f}",
        f"{figures.tally.requests / max(seconds, 1e-9):,.0f}",
        f"{p50 / 1e6:.2f} ms",
        f"{p99 / 1e6:.2f} ms",
        *(f"{figures.kind_share(kind):.1%}" for kind in ("preferred", "fallback", "default")),
        "-" if right is None else f"{right:.1%}",
        figures.missed_by_client,
        figures.tally.errors,
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
    times = "   ".join(f"{name} {value:.2f} ms" for name, value in run["latency_ms"].items())
    output.text(f"latency  {times}")
    output.text()
    has_truth = any(row["right"] is not None for row in run["models"])
    columns = [column for column in _MODELS if has_truth or column.key != "right"]
    output.table(columns, run["models"])
    if run["models"]:
        output.text()
    if run["right"] is not None:
        output.text(f"right    {run['right']:.2%} of what models answered")
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
