"""Implement `rdv promote`."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rdv.commands.errors import InvalidOption, ThresholdBroken
from rdv.commands.options import Canary, Decision, Json, On, Quiet, Since, Until, Yes, span_ns
from rdv.commands.output import Column, Output, Progress
from rdv.commands.pages import Html, promise_lines, write_page
from rdv.commands.registry import write_back
from rdv.commands.terminal import Style, confirm, is_terminal, paint, printable

if TYPE_CHECKING:
    from rdv.analysis.promote.behaviour import Expected
    from rdv.analysis.promote.carry_out import Watch
    from rdv.analysis.promote.proposal import Proposal
    from rdv.analysis.promote.result import Promotion, Switched
    from rdv.analysis.promote.study import Compared
    from rdv.analysis.promote.watch import Bounds, Breach, WatchPeriod
    from rdv.commands.ramp import Asked, Stages
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import Gate as Limits
    from rdv.decision.ramp import Ramp

EXAMPLES = (
    "rdv promote fraud logit",
    "rdv promote fraud logit --since 1d --yes --watch 10m",
    "rdv promote fraud logit --yes --ramp 1%,10%,50%,100% --stage-min 10m",
    "rdv promote fraud --abort",
    "rdv promote fraud logit --json | jq '.checks[]'",
)


def promote(
    directory: Decision,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="The model to promote.")
    ] = None,
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
    ramp: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Promote in stages, by shares of the keys: 1%,10%,50%,100%. Each lasts until the "
            "gate passes on its own traffic; a broken limit of the watch takes the ramp back. The "
            "same command continues an interrupted ramp.",
            show_default=False,
        ),
    ] = None,
    stage_min: Annotated[
        str, typer.Option(metavar="DURATION", help="--ramp: the least time of a stage.")
    ] = "1m",
    stage_max: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="--ramp: the next stage begins after this time, if no limit is broken, even if "
            "the gate has not passed. Default: never.",
            show_default=False,
        ),
    ] = None,
    abort: Annotated[
        bool, typer.Option("--abort", help="Take a ramp that has not ended back.")
    ] = False,
    canary: Canary = None,
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
    promotion that breaks its limits is rolled back. With --ramp, it goes out in stages, to a
    cohort that grows, and is taken back by itself; rdv status shows where it stands.

    Exit codes: 0 promoted, or the gate is passed; 99 the gate is not passed, or the promotion was
    rolled back; 1 failed.
    """
    from rdv.analysis.promote.gate import judge
    from rdv.analysis.promote.result import Promotion
    from rdv.analysis.promote.study import figures_of
    from rdv.commands.ramp import Asked, abort_ramp, read_stages
    from rdv.commands.units import parse_duration_ns
    from rdv.decision import load_decision
    from rdv.serve.observer import known_models

    seconds = None if watch is None else parse_duration_ns(watch) / 1e9
    stages = read_stages(ramp, stage_min, stage_max, watch)
    decision = load_decision(directory, {})
    output = Output(as_json=as_json, quiet=quiet)
    if abort:
        abort_ramp(decision, model, output)
        return
    asked = Asked(_limits(decision, min_requests), accept, on, canary, force=force)
    _check_watch(decision, seconds, stages)
    proposal, begun = _proposal(decision, model, over, known_models(decision), stages, force=force)
    compared = compare_models(decision, proposal, span_ns(since, until), on, canary)
    figures = figures_of(compared, asked.limits)
    found = Promotion(judge(figures, asked.limits), proposal)
    _show_judgement(found, output)
    promises = promise_lines(decision)
    for line in promises:
        output.text(line)
    if html is not None:
        from rdv.analysis.promote.view import promote_page

        page = promote_page(found.judgement, compared.found, proposal.diff, decision.name, promises)
        write_page(html, page, output)
    if not (force or begun or found.judgement.verdict in ("pass", accept)):
        if as_json:
            output.json(found.as_json())
        raise ThresholdBroken(found.judgement.broken())
    if _is_wanted(proposal, output, yes=yes):
        found = _carry(decision, found, compared, asked, begun, stages or seconds, output)
    _end(found, output)


def _carry(
    decision: DecisionConfig,
    found: Promotion,
    compared: Compared,
    asked: Asked,
    begun: Ramp | None,
    how: Stages | float | None,
    output: Output,
) -> Promotion:
    """Make the proposal live at once and watch it for some seconds, or in stages."""
    from rdv.analysis.promote.behaviour import Expected
    from rdv.analysis.promote.study import bounds_of
    from rdv.commands.ramp import Stages, carry_ramp_out

    expected = Expected.of(compared.found, asked.on)
    watching = bounds_of(compared.found, asked.limits, expected), expected
    if isinstance(how, Stages):
        found = carry_ramp_out(decision, found, begun, how, watching, asked, output)
        if found.switched is not None:
            write_back(decision, found, output)
        return found
    return _carry_out(decision, found, watching if how else None, how or 0.0, output)


def _end(found: Promotion, output: Output) -> None:
    """Print what a program reads. Raises ThresholdBroken if the promotion was taken back."""
    if output.as_json:
        output.json(found.as_json())
    if found.breaches:
        first, *others = (breach.text() for breach in found.breaches)
        raise ThresholdBroken((f"rolled back: {first}", *others))
    if found.stepped_back:
        raise ThresholdBroken((f"stepped back: {found.stepped_back}",))


def _proposal(
    decision: DecisionConfig,
    model: str | None,
    over: str | None,
    known: list[str],
    stages: Stages | None,
    *,
    force: bool,
) -> tuple[Proposal, Ramp | None]:
    """Return the proposal, and the ramp that has begun to carry it out, if one has.

    Raises NotUsable if another ramp has begun, or one that is not to be continued.
    """
    from rdv.analysis.promote.proposal import propose
    from rdv.analysis.promote.ramp import proposal_of
    from rdv.decision.ramp import read_ramp
    from rdv.errors import NotUsable

    if model is None:
        raise InvalidOption("MODEL", "is missing: name the model to promote")
    ramp = read_ramp(decision.directory)
    if ramp is None:
        return propose(decision, model, over, known, force=force), None
    if stages is None or model != ramp.challenger or over not in (None, ramp.champion):
        reason = f"the ramp of {ramp.challenger} in place of {ramp.champion} has not ended"
        advice = (
            f"Continue it: rdv promote {decision.directory} {ramp.challenger} --ramp SHARES; or "
            f"take it back: rdv promote {decision.directory} --abort"
        )
        raise NotUsable(model, reason, advice)
    return proposal_of(decision, ramp), ramp


def _limits(decision: DecisionConfig, min_requests: int | None) -> Limits:
    from msgspec.structs import replace

    if min_requests is None:
        return decision.gate
    if min_requests < 1:
        raise InvalidOption(f"--min-requests {min_requests}", "must be at least 1")
    return replace(decision.gate, requests_min=min_requests)


def _check_watch(decision: DecisionConfig, seconds: float | None, stages: Stages | None) -> None:
    if stages is not None:
        _check_served(decision, "--ramp")
    if seconds is None:
        return
    if not seconds:
        raise InvalidOption("--watch 0", "must be longer than 0")
    _check_served(decision, "--watch")


def _check_served(decision: DecisionConfig, option: str) -> None:
    """Raise NotUsable if the decision is not served."""
    from rdv.decision.holder import holder_of
    from rdv.errors import NotUsable

    if holder_of(decision.directory) is None:
        advice = f"Start it: rdv serve {decision.directory}; or promote without {option}."
        raise NotUsable(decision.directory, "it is not served: there is nothing to watch", advice)


def compare_models(
    decision: DecisionConfig,
    proposal: Proposal,
    span: tuple[int | None, int | None],
    on: str | None,
    canary: str | None,
    cohort: str | None = None,
) -> Compared:
    """Compare the two models; with `cohort`, on its requests only."""
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.promote.study import compare_newest
    from rdv.api.studies import known_canary

    progress = Progress("compared {:,} requests")
    with Recorded(decision.directory) as recorded, progress:
        return compare_newest(
            recorded,
            proposal.champion,
            proposal.challenger,
            *span,
            outcome=decision.outcome,
            on=on,
            metric=decision.gate.metric,
            value=decision.value,
            canary=canary or known_canary(decision, recorded),
            window_ms=proposal.window_ms,
            cohort=cohort,
            progress=progress.advance,
        )


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
    found: Promotion,
    watching: tuple[Bounds, Expected] | None,
    seconds: float,
    output: Output,
) -> Promotion:
    """Make the proposal live; with `watching`, follow it for `seconds`, roll it back on a breach.

    Raises EditRefused if the file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    from dataclasses import replace

    from rdv.analysis.promote.carry_out import Watch, make_live, take_back

    proposal = found.proposal
    with contextlib.ExitStack() as stack:
        watch: Watch | None = None
        if watching is not None:
            watch = stack.enter_context(Watch(decision, proposal, *watching))
        found = replace(found, switched=make_live(decision, proposal))
        _show_switch(proposal.after.label, found.switched, output)
        write_back(decision, found, output)
        if watch is None:
            return found
        try:
            found = replace(found, watched=watch.period, breaches=_follow(watch, seconds))
        except KeyboardInterrupt:
            output.note(f"not watched any more: {proposal.challenger} stays the champion")
            raise
        if not found.breaches:
            _show_end(watch.period, seconds, output)
            for line in promise_lines(decision):
                output.text(line)
            return found
        for breach in found.breaches:
            output.note(f"after {watch.period.answers:,} answers: {breach.text()}")
        back = take_back(decision, proposal, "; ".join(one.text() for one in found.breaches))
        output.note(f"rolled back to {proposal.before.label}")
        _show_switch(proposal.before.label, back, output)
        write_back(decision, found, output)
        return found


def _follow(watch: Watch, seconds: float) -> list[Breach]:
    left_s = seconds

    def describe(done: int, _: int) -> str:
        counts = watch.period.totals
        return (
            f"watching, {left_s:.0f} s left: {done:,} answers, {counts['defaults']:,} defaults, "
            f"{counts['misses']:,} misses, {counts['errors']:,} errors"
        )

    with Progress(describe) as progress:
        shown = 0

        def advance(seconds_left: float) -> None:
            nonlocal shown, left_s
            left_s = seconds_left
            progress.advance(watch.period.answers - shown)
            shown = watch.period.answers

        return watch.follow(seconds, advance)


_COLUMNS = (Column("name", "check"), Column("verdict"), Column("text", "finding"))
_STYLES: dict[str, Style] = {"pass": "green", "marginal": "yellow", "fail": "red"}


def _show_judgement(found: Promotion, output: Output) -> None:
    """Print the checks and the diff; nothing with JSON."""
    if not output.is_human:
        return
    judgement, proposal = found.judgement, found.proposal
    title = f"{proposal.challenger} in place of {proposal.champion}"
    output.table(_COLUMNS, [vars(check) for check in judgement.checks], title)
    output.text()
    style = _STYLES.get(judgement.verdict, "bold")
    output.text(paint(f"verdict: {judgement.verdict}", style, sys.stdout))
    if judgement.missing and judgement.verdict != "pass":
        output.text(f"missing to decide: {judgement.missing}")
    output.text()
    styles: dict[str, Style] = {"+": "green", "-": "red"}
    for line in map(printable, proposal.diff):
        output.text(paint(line, styles[line[0]], sys.stdout) if line[:1] in styles else line)


def _show_switch(schedule: str, switched: Switched | None, output: Output) -> None:
    """Print that a schedule is live, or when it will be."""
    if switched is None or switched.took_ms is None:
        output.text(f"live at the next start: {schedule}; the decision is not served now")
    else:
        output.text(f"live after {switched.took_ms:.0f} ms: {schedule}")


def _show_end(period: WatchPeriod, seconds: float, output: Output) -> None:
    """Print how a watch without breaches has ended."""
    totals = period.totals
    counts = ", ".join(
        f"{totals[kind]:,} {kind.replace('_', ' ')}" for kind in period.bounds.shares
    )
    counts += f"; {totals['pairs']:,} requests scored by both, {totals['judged']:,} outcomes"
    if (keys := period.few_keys) is not None:
        output.note(
            f"watched for {seconds:g} s: the latest answers are all of {keys:,} "
            f"{'key' if keys == 1 else 'keys'}, which is too few to break a limit: the promotion "
            "is not confirmed"
        )
    elif period.answers:
        output.text(
            f"watched for {seconds:g} s: {period.answers:,} answers, {counts}; the promotion stays"
        )
    else:
        output.note(
            f"watched for {seconds:g} s, but no request came: the promotion is not confirmed"
        )
