"""Implement `rdv ab`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import METRICS, Decision, Json, On, Quiet, Since, Until, span_ns
from rdv.commands.output import Output, Progress
from rdv.commands.pages import Html, finish, print_table, promise_lines, write_page

if TYPE_CHECKING:
    from rdv.analysis.ab import Plan
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    "rdv ab fraud",
    "rdv ab fraud --metric value",
    "rdv ab fraud --metric roc-auc --looks 20",
    "rdv ab ads --metric clicked --html report.html",
    "rdv ab fraud --metric default --json | jq '.comparisons[0].effect.difference'",
)


def ab(
    directory: Decision,
    *,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is compared: right (by known outcomes), default, waited_ms (until the "
            f"decision), a number in the outcomes, or one of {METRICS}. Default: metric of "
            "[outcome] in rdv.toml, or right.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        str, typer.Option(metavar="SHARE", help="Confidence of the intervals: 0.95, or 95%.")
    ] = "0.95",
    looks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="How often the results are looked at, at most: declare it before the first look. "
            "Counts only for metrics that are no means, such as roc-auc and f1, whose level is "
            "spread over the looks. Default: looks of [gate] in rdv.toml.",
            show_default=False,
        ),
    ] = None,
    depends: Annotated[
        bool,
        typer.Option(
            "--depends",
            help="The answer given causes the outcome: no paired comparison. As caused_by_answer "
            "of [outcome].",
        ),
    ] = False,
    since: Since = None,
    until: Until = None,
    on: On = None,
    html: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate an A/B test: the effect of a cohort's schedule.

    Checks the split first, then reports the effect, with intervals that stay valid however often
    the results are looked at, or, for metrics that are no means, for as many looks as are declared.
    Also answers the same question by pairs, since every model has scored
    every request: that needs far fewer requests, and is valid where the outcome does not depend on
    the answer given.
    """
    from rdv.analysis.ab import run_experiment, view
    from rdv.analysis.ab.result import arm_rows
    from rdv.analysis.dataset.places import Recorded
    from rdv.decision import load_decision

    level = _share(confidence)
    decision = load_decision(directory)
    plan = _plan(decision)
    since_ns, until_ns = span_ns(since, until)
    output = Output(as_json=as_json, quiet=quiet)
    progress = Progress("evaluated {:,} requests")
    with Recorded(directory) as recorded, progress:
        found = run_experiment(
            recorded,
            plan,
            since_ns,
            until_ns,
            metric=metric or "",
            outcome=decision.outcome,
            value=decision.value,
            on=on,
            confidence=level,
            looks=decision.gate.looks if looks is None else looks,
            depends=depends,
            progress=progress.advance,
        )
    if html is not None:
        write_page(html, view.ab_page(found, decision.name, promise_lines(decision)), output)
    if as_json:
        output.json(found.as_json())
        return
    print_table(*arm_rows(found), output)
    output.text()
    finish(output, found.sentences(), view.charts_of(found), found.caveats())


def _plan(decision: DecisionConfig) -> Plan:
    """Return the cohorts and their schedules as the files are now, without unreadable ones.

    `rdv schedule check` reports the faults of those.
    """
    from rdv.analysis.ab import REST, Plan
    from rdv.decision.schedules import read_schedule
    from rdv.errors import InputFault

    # A cohort that explores splits requests and not keys: it is no A/B test.
    groups = {name: one for name, one in decision.cohorts.groups.items() if not one.explore}
    wanted = {REST: decision.schedule, **{name: group.schedule for name, group in groups.items()}}
    schedules = {}
    for name, schedule in wanted.items():
        try:
            schedules[name] = read_schedule(decision, schedule)
        except InputFault:
            continue
    shares = {name: group.share for name, group in groups.items()}
    return Plan(shares, schedules, decision.cohorts.salt)


def _share(text: str) -> float:
    from rdv.commands.errors import InvalidOption

    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise InvalidOption(f"--confidence {text}", "must be between 0 and 1")
    return value
