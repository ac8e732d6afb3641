"""Show a promotion to people and to programs."""

from __future__ import annotations

import sys
from typing import Any

from rdv.commands.output import Column, Output
from rdv.commands.promoting.live import Switched
from rdv.commands.promoting.proposal import Proposal
from rdv.commands.terminal import Style, paint, printable
from rdv.evaluation.promote.gate import Gate
from rdv.evaluation.promote.vigil import Breach, Vigil
from rdv.evaluation.statistics import plain

_COLUMNS = (Column("check"), Column("verdict"), Column("text", "what is on record"))
_STYLES: dict[str, Style] = {"pass": "green", "marginal": "yellow", "fail": "red"}


def show_gate(gate: Gate, proposal: Proposal, output: Output) -> None:
    """Print the checks and the diff; nothing with JSON."""
    if not output.is_human:
        return
    rows = [
        {"check": check.name, "verdict": check.verdict, "text": check.text} for check in gate.checks
    ]
    output.table(_COLUMNS, rows, f"{proposal.challenger} in the place of {proposal.champion}")
    output.text()
    verdict = f"verdict: {gate.verdict}"
    output.text(paint(verdict, _STYLES.get(gate.verdict, "bold"), sys.stdout))
    output.text()
    for line in proposal.diff:
        style: Style | None = {"+": "green", "-": "red"}.get(line[:1])  # type: ignore[assignment]
        output.text(paint(printable(line), style, sys.stdout) if style else printable(line))


def show_switch(schedule: str, switched: Switched, output: Output) -> None:
    """Print that a schedule is live, or when it will be."""
    if switched.took_ms is None:
        output.text(f"live at the next start: {schedule}; nobody serves the decision now")
    else:
        output.text(f"live after {switched.took_ms:.0f} ms: {schedule}")


def show_watch(vigil: Vigil, seconds: float, breaches: list[Breach], output: Output) -> None:
    """Print how a watch without breaches has ended."""
    if breaches:
        return
    counts = ", ".join(f"{vigil.totals[kind]:,} {kind}" for kind in vigil.bounds.shares)
    if vigil.answers:
        output.text(f"watched for {seconds:g} s: {vigil.answers:,} answers, {counts}; it stays")
    else:
        output.note(f"watched for {seconds:g} s, and no request came: nothing is proven")


def as_json(
    gate: Gate,
    proposal: Proposal,
    switched: Switched | None = None,
    vigil: Vigil | None = None,
    breaches: list[Breach] | None = None,
) -> dict[str, Any]:
    """Return everything in one object."""
    watched = None
    if vigil is not None:
        watched = {
            "answers": vigil.answers,
            **{kind: vigil.totals[kind] for kind in vigil.bounds.shares},
            "bounds": vigil.bounds.shares,
            "breaches": plain(breaches or []),
        }
    return {
        "verdict": gate.verdict,
        "champion": proposal.champion,
        "challenger": proposal.challenger,
        "checks": plain(gate.checks),
        "schedule": proposal.after.label,
        "was": proposal.before.label,
        "diff": proposal.diff,
        "promoted": switched is not None,
        "live_after_ms": None if switched is None else switched.took_ms,
        "watch": watched,
        "rolled_back": bool(breaches),
    }
