"""Show the findings of a replay: as JSON, and as tables and sentences for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rdv.commands.output import Column, Output, number

if TYPE_CHECKING:
    from rdv.analysis.replay.compare import Against, Comparison
    from rdv.analysis.replay.paced import Pace
    from rdv.analysis.replay.study import Replayed

REASONS_SHOWN = 5
_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
_FIGURES = (Column("what"), Column("value", right=True))
_AGAINST = (
    Column("against"),
    number("requests"),
    Column("same", right=True),
    Column("agreement", right=True),
    Column("right", right=True),
    Column("advantage", right=True),
)


def as_json(found: Replayed, comparison: Comparison | None, pace: Pace | None) -> dict[str, Any]:
    """Return all findings as one object."""
    from rdv.analysis.statistics import plain

    figures: dict[str, Any] = {
        "model": found.name,
        "version": found.version,
        "requests": found.requests,
        "results": found.results,
        "errors": found.errors,
        "silent": found.silent,
        "refused": found.refused,
        "ends": found.ends,
        "reasons": dict(found.reasons.most_common(20)),
        "seconds": found.seconds,
        "rate": found.requests / found.seconds if found.seconds else None,
        "evaluation_ms_per_row": _per_row_ms(found),
        "row_ms": _quantiles(found.row_ms),
        "batch_ms": _quantiles(found.batch_ms),
        "notes": found.notes.as_json(),
        "pace": _pace_json(pace) if pace else None,
        "comparison": None,
    }
    if comparison is not None:
        figures["comparison"] = {
            "requests": comparison.requests,
            "outcomes_known": comparison.known,
            "accuracy": plain(comparison.accuracy()),
            "against": [_against_json(one, comparison) for one in comparison.against],
            "notes": comparison.notes.as_json(),
        }
    return figures


def _against_json(one: Against, comparison: Comparison) -> dict[str, Any]:
    from rdv.analysis.statistics import plain

    return {
        "against": one.name or "answers given",
        "requests": one.pairs.count,
        "equal": one.pairs.equal,
        "sampled_every": one.pairs.stride,
        "agreement": plain(one.agreement(is_number=comparison.is_number)),
        "accuracy": plain(one.accuracy()),
        "advantage": plain(one.advantage()),
    }


def _pace_json(pace: Pace) -> dict[str, Any]:
    return {
        "speed": pace.speed,
        "in_time": pace.in_time,
        "in_turn": pace.in_turn,
        "late": pace.late,
        "failed": pace.failed,
        "behind": pace.behind,
        "expired": pace.expired,
        "share_in_time": pace.in_time / pace.requests if pace.requests else None,
        "batches": pace.batches,
        "waiting_max": pace.waiting_max,
        "span_s": pace.recorded_s,
        "busy_share": _busy(pace),
        "waited_ms": _quantiles(pace.waited_ms),
    }


def _busy(pace: Pace) -> float | None:
    return pace.busy_ns / 1e9 / pace.recorded_s if pace.recorded_s else None


def _per_row_ms(found: Replayed) -> float | None:
    return found.evaluation_ns / 1e6 / found.evaluated if found.evaluated else None


def _quantiles(values: Any) -> dict[str, float] | None:
    import numpy as np

    if not len(values):
        return None
    array = np.frombuffer(values, np.float64)
    return {name: float(np.quantile(array, q)) for name, q in _QUANTILES}


def render(
    found: Replayed, comparison: Comparison | None, pace: Pace | None, output: Output
) -> None:
    """Print the findings for people."""
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
    for reason, count in found.reasons.most_common(REASONS_SHOWN):
        output.note(f"{count:,} × {reason}")
    if len(found.reasons) > REASONS_SHOWN:
        output.note(f"… and {len(found.reasons) - REASONS_SHOWN} other errors")
    for line in dict.fromkeys(found.notes.lines() + _compared_notes(found, comparison)):
        output.note(line)


def _figures(found: Replayed) -> list[tuple[str, str]]:
    rate = found.requests / found.seconds if found.seconds else 0
    figures = [("results", f"{found.results:,}"), ("errors", f"{found.errors:,}")]
    if found.silent:
        figures.append(("nothing said", f"{found.silent:,}"))
    if found.refused:
        figures.append(("refused", f"{found.refused:,}"))
    if found.ends:
        figures.append(("its process ended", f"{found.ends:,} times"))
    per_row_ms, batches = _per_row_ms(found), _quantiles(found.batch_ms)
    if per_row_ms is not None and batches is not None:
        figures += [
            ("evaluation, each request", _ms(per_row_ms)),
            ("evaluation, a batch, p50", _ms(batches["p50"])),
            ("evaluation, a batch, p99", _ms(batches["p99"])),
        ]
    return [*figures, ("replayed at", f"{rate:,.0f}/s")]


def _pace_figures(pace: Pace) -> list[tuple[str, str]]:
    total = max(1, pace.requests)
    figures = [
        ("in time for the deadline", f"{pace.in_time / total:.2%}"),
        ("in its turn of the schedule", f"{pace.in_turn / total:.2%}"),
        ("refused as behind", f"{pace.behind:,}"),
        ("refused as expired", f"{pace.expired:,}"),
        ("late", f"{pace.late:,}"),
        ("requests of a batch, mean", f"{_evaluated(pace) / max(1, pace.batches):.1f}"),
        ("most that waited at once", f"{pace.waiting_max:,}"),
    ]
    if (busy := _busy(pace)) is not None:
        figures.append(("busy", f"{busy:.1%} of {pace.recorded_s:,.1f} s"))
    if (waited := _quantiles(pace.waited_ms)) is not None:
        figures += [(f"score after, {name}", _ms(value)) for name, value in waited.items()]
    return figures


def _evaluated(pace: Pace) -> int:
    return pace.in_time + pace.late + pace.failed


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if value >= 1 else f"{value * 1000:.1f} µs"


def _render_comparison(comparison: Comparison, output: Output) -> None:
    rows = []
    for one in comparison.against:
        count = one.pairs.count
        accuracy, advantage = one.accuracy(), one.advantage()
        rows.append(
            {
                "against": one.name or "(answers given)",
                "requests": count,
                "same": f"{one.pairs.equal / count:.2%}" if count else "-",
                "agreement": _agreement(one, is_number=comparison.is_number),
                "right": "-" if accuracy is None else f"{accuracy.estimate:.2%}",
                "advantage": "-" if advantage is None else _points(advantage.difference),
            }
        )
    output.table(_AGAINST, rows, "against what is on record")
    if (accuracy := comparison.accuracy()) is not None:
        output.text(
            f"right: {accuracy.estimate:.2%} ({accuracy.low:.2%} – {accuracy.high:.2%}) of "
            f"{comparison.known:,} whose outcome is known"
        )
    what = "rank correlation" if comparison.is_number else "Cohen's kappa"
    said = f"agreement: {what}"
    if comparison.known:
        said += "; advantage: share of right answers beyond the other's, on the same requests"
    output.note(said)


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
    return f"{difference.estimate * 100:+.2f} points ({low:+.2f} – {high:+.2f})"


def _compared_notes(found: Replayed, comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["nothing is compared: the model gave no result"]
    said = []
    if missing := found.requests - comparison.requests:
        said.append(f"{missing:,} replayed requests are not on record any more: not compared")
    if comparison.requests and not any(one.pairs.count for one in comparison.against):
        said.append("no answer can be compared with one on record: name a field, --on FIELD")
    return said + comparison.notes.lines()
