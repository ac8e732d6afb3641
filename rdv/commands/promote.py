"""Implement `rdv promote`."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.options import Decision, Json, On, Quiet, Since, Until, Yes, span_ns
from rdv.commands.output import Column, Output, Progress
from rdv.commands.pages import Html, write_page
from rdv.commands.terminal import Style, confirm, is_terminal, paint, printable

if TYPE_CHECKING:
    from rdv.analysis.compare import Comparison
    from rdv.analysis.promote.carry_out import Switched, Watch
    from rdv.analysis.promote.gate import Gate, Limits
    from rdv.analysis.promote.proposal import Proposal
    from rdv.analysis.promote.watch import Bounds, Breach, WatchPeriod
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    "rdv promote fraud logit",
    "rdv promote fraud logit --since 1d --yes --watch 10m",
    "rdv promote fraud logit --json | jq '.checks[]'",
)


def promote(
    directory: Decision,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model to promote.")],
    *,
    over: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model to replace. Default: the one that the schedule prefers.",
        ),
    ] = None,
    min_requests: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Minimum of requests scored by both. Default: requests_min of [gate]."
        ),
    ] = None,
    accept: Annotated[
        Literal["pass", "marginal"],
        typer.Option(metavar="VERDICT", help="The least verdict that is enough: pass or marginal."),
    ] = "pass",
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote whatever the verdict and the linter's findings."),
    ] = False,
    yes: Yes = False,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Watch the answers for this long; roll back if they break the limits.",
        ),
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The model that never changes. Default: the canary of rdv.toml."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    on: On = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a model the champion, if the recorded requests show that it is good enough.

    Checks requests, quality, latency, errors, refusals and drift against the limits of [gate] in
    rdv.toml; shows the change of the live schedule; makes it live after asking, or with --yes.
    Requests in flight keep the schedule that they came in with; none is lost. With --watch, a
    promotion that breaks its limits is rolled back.

    Exit codes: 0 promoted, or the gate is passed; 99 the gate is not passed, or the promotion was
    rolled back; 1 failed.
    """
    from rdv.analysis.promote.gate import judge
    from rdv.analysis.promote.proposal import propose
    from rdv.analysis.promote.study import bounds_of, figures_of
    from rdv.commands.units import parse_duration_ns
    from rdv.decision import load_decision
    from rdv.serve.observer import known_models

    seconds = None if watch is None else parse_duration_ns(watch) / 1e9
    decision = load_decision(directory, {})
    limits = _limits(decision, min_requests)
    _check_watch(decision, seconds)
    proposal = propose(decision, model, over, known_models(decision), force=force)
    output = Output(as_json=as_json, quiet=quiet)
    found = _compare(decision, proposal, span_ns(since, until), on, canary)
    gate = judge(figures_of(found), limits)
    show_gate(gate, proposal, output)
    if html is not None:
        from rdv.analysis.promote.view import promote_page

        page = promote_page(gate, found, proposal.diff, decision.name)
        write_page(html, page, output)
    _refuse(gate, proposal, output, accept=accept, force=force)
    if not _is_wanted(proposal, output, yes=yes):
        if as_json:
            output.json(promotion_json(gate, proposal))
        return
    switched, period, breaches = _carry_out(
        decision, proposal, bounds_of(found, limits) if seconds else None, seconds, output
    )
    if as_json:
        output.json(promotion_json(gate, proposal, switched, period, breaches))
    _raise_if_broken(breaches)


def _limits(decision: DecisionConfig, min_requests: int | None) -> Limits:
    import msgspec

    from rdv.analysis.promote.gate import Limits
    from rdv.analysis.promote.study import with_requests
    from rdv.commands.errors import InvalidOption

    if min_requests is not None and min_requests < 1:
        raise InvalidOption(f"--min-requests {min_requests}", "must be at least 1")
    return with_requests(Limits(**msgspec.structs.asdict(decision.gate)), min_requests)


def _check_watch(decision: DecisionConfig, seconds: float | None) -> None:
    from rdv.commands.errors import InvalidOption
    from rdv.decision.holder import holder_of
    from rdv.errors import NotUsable

    if seconds is None:
        return
    if not seconds:
        raise InvalidOption("--watch 0", "must be longer than 0")
    if holder_of(decision.directory) is None:
        advice = f"Start it: rdv serve {decision.directory}; or promote without --watch."
        raise NotUsable(decision.directory, "it is not served: there is nothing to watch", advice)


def _compare(
    decision: DecisionConfig,
    proposal: Proposal,
    span: tuple[int | None, int | None],
    on: str | None,
    canary: str | None,
) -> Comparison:
    from rdv.analysis.compare import compare
    from rdv.analysis.dataset.places import Recorded
    from rdv.commands.compare import known_canary

    def describe(done: int, _: int) -> str:
        return f"compared {done:,} requests"

    with Recorded(decision.directory) as recorded, Progress(describe) as progress:
        return compare(
            recorded,
            proposal.champion,
            proposal.challenger,
            *span,
            on=on,
            canary=canary or known_canary(decision, recorded),
            window_ms=proposal.window_ms,
            progress=progress.advance,
        )


def _refuse(gate: Gate, proposal: Proposal, output: Output, *, accept: str, force: bool) -> None:
    """Raise ThresholdBroken unless the verdict is good enough."""
    from rdv.commands.errors import ThresholdBroken

    will_do = {"pass": True, "marginal": accept == "marginal"}.get(gate.verdict, False)
    if will_do or force:
        return
    if output.as_json:
        output.json(promotion_json(gate, proposal))
    raise ThresholdBroken(gate.broken())


def _is_wanted(proposal: Proposal, output: Output, *, yes: bool) -> bool:
    """Return whether to go on: by --yes, or by an answer on a terminal; False off a terminal."""
    if yes:
        return True
    if output.as_json or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        output.note("nothing is changed; to make it live: --yes")
        return False
    question = f"make {proposal.challenger} the champion of {proposal.before.name}?"
    return confirm(question, doing="promoting", yes=False)


def _carry_out(
    decision: DecisionConfig,
    proposal: Proposal,
    bounds: Bounds | None,
    seconds: float | None,
    output: Output,
) -> tuple[Switched, WatchPeriod | None, list[Breach]]:
    """Make the proposal live; with `bounds`, watch it for `seconds`, and roll it back if it breaks
    them.

    Returns what was switched, the state of the watch, and the breaches. Raises EditRefused if the
    file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    from rdv.analysis.promote.carry_out import Watch, make_live, take_back

    with contextlib.ExitStack() as stack:
        watch: Watch | None = None
        if bounds is not None:
            watch = stack.enter_context(Watch(decision, proposal, bounds))
        switched = make_live(decision, proposal)
        show_switch(proposal.after.label, switched, output)
        if watch is None or seconds is None:
            return switched, None, []
        try:
            breaches = _follow(watch, seconds)
        except KeyboardInterrupt:
            output.note(f"not watched any more: {proposal.challenger} stays the champion")
            raise
        show_watch(watch.period, seconds, breaches, output)
        if breaches:
            for breach in breaches:
                output.note(f"after {watch.period.answers:,} answers: {breach.text()}")
            back = take_back(decision, proposal)
            output.note(f"rolled back to {proposal.before.label}")
            show_switch(proposal.before.label, back, output)
        return switched, watch.period, breaches


def _follow(watch: Watch, seconds: float) -> list[Breach]:
    left = [seconds]

    def describe(done: int, _: int) -> str:
        counts = watch.period.totals
        return (
            f"watching, {left[0]:.0f} s left: {done:,} answers, {counts['defaults']:,} defaults, "
            f"{counts['misses']:,} misses, {counts['errors']:,} errors"
        )

    with Progress(describe) as progress:
        shown = 0

        def advance(left_s: float) -> None:
            nonlocal shown
            left[0] = left_s
            progress.advance(watch.period.answers - shown)
            shown = watch.period.answers

        return watch.follow(seconds, advance)


def _raise_if_broken(breaches: list[Breach]) -> None:
    """Raise ThresholdBroken if the promotion was rolled back."""
    from rdv.commands.errors import ThresholdBroken

    if breaches:
        first, *others = (breach.text() for breach in breaches)
        raise ThresholdBroken((f"rolled back: {first}", *others))


_COLUMNS = (Column("check"), Column("verdict"), Column("text", "finding"))
_STYLES: dict[str, Style] = {"pass": "green", "marginal": "yellow", "fail": "red"}


def show_gate(gate: Gate, proposal: Proposal, output: Output) -> None:
    """Print the checks and the diff; nothing with JSON."""
    if not output.is_human:
        return
    rows = [
        {"check": check.name, "verdict": check.verdict, "text": check.text} for check in gate.checks
    ]
    output.table(_COLUMNS, rows, f"{proposal.challenger} in place of {proposal.champion}")
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
        output.text(f"live at the next start: {schedule}; the decision is not served now")
    else:
        output.text(f"live after {switched.took_ms:.0f} ms: {schedule}")


def show_watch(period: WatchPeriod, seconds: float, breaches: list[Breach], output: Output) -> None:
    """Print how a watch without breaches has ended."""
    if breaches:
        return
    counts = ", ".join(f"{period.totals[kind]:,} {kind}" for kind in period.bounds.shares)
    if period.answers:
        output.text(
            f"watched for {seconds:g} s: {period.answers:,} answers, {counts}; the promotion stays"
        )
    else:
        output.note(
            f"watched for {seconds:g} s, but no request came: the promotion is not confirmed"
        )


def promotion_json(
    gate: Gate,
    proposal: Proposal,
    switched: Switched | None = None,
    period: WatchPeriod | None = None,
    breaches: list[Breach] | None = None,
) -> dict[str, Any]:
    """Return everything in one object."""
    from rdv.analysis.statistics import plain

    watched = None
    if period is not None:
        watched = {
            "answers": period.answers,
            **{kind: period.totals[kind] for kind in period.bounds.shares},
            "bounds": period.bounds.shares,
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
