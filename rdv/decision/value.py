"""Declare the [value] section of an rdv.toml: what an answer is worth to the business."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rdv.decision.sections import MS, on_command


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Declares the metric "value": a table of costs, or a Python function."""

    cost: Annotated[
        dict[str, dict[str, float]],
        on_command(
            "Value of each action by the outcome: { decline = { honest = -5.0, fraud = 0.0 } }"
        ),
    ] = {}
    function: Annotated[
        str,
        on_command(
            'Function value(data, answer, outcome) -> float instead of cost: "value.py:value"'
        ),
    ] = ""
    unit: Annotated[str, on_command('Unit of the values: "EUR"')] = ""
    timeout_ms: Annotated[
        int, on_command("Time limit of the function for one batch of calls", *MS)
    ] = 10_000


UNDECLARED = Value()
"""Without [value], answers have no value of their own."""
