"""The group `rdv metrics …`: what Prometheus and Grafana need of a decision."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


class MetricsGroup(LazyGroup):
    """List the group's commands, in the order of the help."""

    table: ClassVar[dict[str, Lazy]] = {
        "rules": Lazy(
            "rdv.commands.metrics.rules:rules",
            "Print recording and alerting rules for Prometheus, from the settings and the models.",
        ),
        "dashboard": Lazy(
            "rdv.commands.metrics.dashboard:dashboard",
            "Print a dashboard for Grafana, as JSON to import; it asks for the data source.",
        ),
    }
