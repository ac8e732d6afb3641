"""Render a comparison for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdv.commands.evaluating.pages import draw
from rdv.commands.output import Column, Output, number

if TYPE_CHECKING:
    from rdv.evaluation.compare import Comparison


def render(found: Comparison, output: Output) -> None:
    """Print JSON, or a table with sentences; on a terminal also charts."""
    if output.as_json:
        output.json(found.as_json())
        return
    from rdv.evaluation.compare.charts import brief_charts_of
    from rdv.evaluation.reports.compare import models_table

    names = (found.first.name, found.second.name)
    _, rows = models_table((found.first, found.second))
    columns = (Column("what"), *(number(str(n), name, _shown) for n, name in enumerate(names)))
    title = f"{names[0]} and {names[1]}, {found.requests:,} requests"
    output.table(columns, [_row(row) for row in rows], title)
    output.text()
    for sentence in found.sentences():
        output.text(sentence)
    draw(brief_charts_of(found), output)
    if output.is_human:
        for line in found.caveats():
            output.note(line)


def _row(values: list[Any]) -> dict[str, Any]:
    return {"what": values[0] or "what", "0": values[1], "1": values[2]}


def _shown(value: Any) -> str:
    from rdv.evaluation.pictures import cell

    return cell(value)
