"""Aggregates the figures of each model from the lines of its workers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rdv.status.lines import GONE, ProcessState, ScaleLine, StatusLine, waits

AFTER_DECISION = "scores_after_decision"
"""What a server calls "late": scores that came when another answer had been given. They miss no
SLA.
"""


_UNLOGGED = {
    "unlogged": "requests that no model saw",
    "unrecorded": "answers that wait for the log",
    "lost_answers": "answers of proxies",
    "lost_results": "results",
    "lost_scores": "scores",
}
"""Counters of what processes could not write, and what they count."""


def model_rows(
    declared: Iterable[str],
    seen: Iterable[ProcessState],
    lag: Mapping[str, int],
    answers: Mapping[str, int],
    scaling: Mapping[str, ScaleLine] | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each model: the declared ones in order, then those that only run.

    Counts are since the start of the workers that live now. `scaling` has the supervisor's last
    record of each model that it scales.
    """
    scaled = scaling or {}
    workers: dict[str, list[ProcessState]] = {name: [] for name in declared}
    known = set(workers)
    for one in seen:
        if one.line.role == "worker" and one.line.model:
            workers.setdefault(one.line.model, []).append(one)
    return [
        {"model": name, "declared": name in known}
        | _row(group, scaled.get(name))
        | {"answers": answers.get(name, 0), "lag": lag.get(name)}
        for name, group in workers.items()
        if name in known or any(_is_there(one) for one in group)
    ]


def _row(workers: list[ProcessState], scaled: ScaleLine | None) -> dict[str, Any]:
    alive = [one for one in workers if _lives(one)]
    versions = {str(one.line.fields.get("version") or "") for one in alive} - {""}
    trouble, code = _trouble(workers, alive)
    row_ms = [value for one in alive if (value := one.line.fields.get("row_ms"))]
    return {
        "state": _state(workers) if alive or scaled is None or scaled.instances else "asleep",
        "instances": len(alive),
        "version": ", ".join(sorted(versions)) or None,
        "version_before": next((v for one in alive if (v := _version_before(one))), None),
        **{
            key: sum(one.line.count(key) for one in alive)
            for key in ("scored", "refused", "failed", "waiting", "lost_scores")
        },
        "row_ms": max(row_ms) if row_ms else None,
        "scaling": scaled and _scaling(scaled),
        "trouble": trouble,
        "trouble_code": code,
    }


def _trouble(
    workers: list[ProcessState], alive: list[ProcessState]
) -> tuple[str, str] | tuple[None, None]:
    """Return why the model cannot answer, and the code of it."""
    for one in alive:
        if one.line.trouble:
            return one.line.trouble, one.line.trouble_code
    for one in workers:
        if one.state == "waiting":
            return waits(one.line), one.line.trouble_code
    return None, None


def _version_before(one: ProcessState) -> str:
    return str(one.line.fields.get("version_before") or "")


def _scaling(line: ScaleLine) -> dict[str, Any]:
    return {
        "wanted": line.instances,
        "min": line.least,
        "max": line.most,
        "reason": line.reason,
        "since_ns": line.time_ns,
    }


def _lives(one: ProcessState) -> bool:
    return one.state in ("ready", "failing", "starting", "silent")


def _is_there(one: ProcessState) -> bool:
    return one.state not in GONE


def _state(workers: list[ProcessState]) -> str:
    """Return the best state of its workers."""
    states = {one.state for one in workers}
    order = ("ready", "failing", "silent", "starting", "restarting", "waiting", "dead", "stopped")
    for state in order:
        if state in states:
            return state
    return "not running"


def process_rows(expected: Iterable[str], seen: Iterable[ProcessState]) -> list[dict[str, Any]]:
    """Return a row for each process: the expected ones in order, then others that live."""
    by_name: dict[str, list[ProcessState]] = {}
    for one in seen:
        by_name.setdefault(one.line.name, []).append(one)
    rows: list[dict[str, Any]] = []
    for name in expected:
        found = by_name.pop(name, [])
        rows += [_process(one) for one in found] or [{"name": name, "state": "not running"}]
    rows += [_process(one) for group in by_name.values() for one in group if _is_there(one)]
    return rows


def _process(one: ProcessState) -> dict[str, Any]:
    return {
        "name": one.line.name,
        "role": one.line.role,
        "state": one.state,
        "pid": one.line.pid,
        "age_s": round(one.age_s, 3),
        "figures": _figures(one.line),
    }


def _figures(line: StatusLine) -> dict[str, Any]:
    """Return the line's fields; a server's "late" is renamed, as it does not mean late answers."""
    names = {"late": AFTER_DECISION} if line.role == "server" else {}
    return {names.get(key, key): value for key, value in line.fields.items()}


def unlogged(seen: Iterable[ProcessState]) -> dict[str, int]:
    """Return what the live processes could not write to the log since they started, by counter."""
    counts = dict.fromkeys(_UNLOGGED, 0)
    for one in seen:
        if _lives(one):
            for key in counts:
                counts[key] += one.line.count(key)
    return counts


def unlogged_text(counts: Mapping[str, int]) -> str:
    """Return the counts as text; empty when all is recorded."""
    return ", ".join(f"{counts[key]:,} {what}" for key, what in _UNLOGGED.items() if counts[key])


def unread(seen: Iterable[ProcessState]) -> list[dict[str, Any]]:
    """Return what the live processes could not read of the log, and skipped."""
    return [
        {
            "name": one.line.name,
            "records": one.line.count("unread_records"),
            "what": list(what),
            "what_codes": list(one.line.fields.get("unread_codes") or [""] * len(what)),
        }
        for one in seen
        if _lives(one) and isinstance(what := one.line.fields.get("unread"), list) and what
    ]
