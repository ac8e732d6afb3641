"""Declare the [objective] section of an rdv.toml: what the decision promises besides its SLA."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import on_command

DAY_MS = 86_400_000


class Objective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Declares the quality that is promised; `rdv status` and `rdv regress` hold answers to it."""

    quality_min: Annotated[
        float | Literal["none"],
        on_command('Least value of the metric (of an error: the largest); "none": no promise'),
    ] = "none"
    metric: Annotated[
        str, on_command("Metric of the promise; empty: metric of [outcome], or by their type")
    ] = ""
    window_ms: Annotated[
        int,
        on_command("Time for which rdv status looks back", 1, 3650 * DAY_MS),
    ] = 7 * DAY_MS
