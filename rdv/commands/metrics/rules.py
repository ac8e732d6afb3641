"""Implement `rdv metrics rules`."""

from __future__ import annotations

from typing import Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision

EXAMPLES = (
    "rdv metrics rules fraud > /etc/prometheus/rules/fraud.yml",
    "rdv metrics rules fraud --target 99.5",
)


def rules(
    directory: Decision,
    *,
    target: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            help="Share of the answers that should be good: of a model, and within the SLA.",
        ),
    ] = 99.9,
) -> None:
    """Print recording and alerting rules for Prometheus, from the settings and the models.

    Alerts: the error budget is spent too fast (14.4, 6 and 1 times), a model is silent, behind,
    failing or down, a champion disagrees with its canary, defaults, what is not logged, the disk.
    """
    from rdv.commands.output import Output
    from rdv.console.rules import rules_text
    from rdv.decision import load_decision

    if not 0 < target < 100:  # noqa: PLR2004
        raise InvalidOption("--target", "is above 0 and below 100")
    decision = load_decision(directory)
    text = rules_text(decision, round(target / 100, 9))
    Output(as_json=False, quiet=False).text(text.rstrip("\n"))
