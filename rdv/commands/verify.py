"""Implement `rdv verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdv.commands.options import Decision, Json, Quiet, Since, Until, span_ns
from rdv.commands.output import Column, Output, Progress, number

if TYPE_CHECKING:
    from rdv.analysis.verify import Verification

EXAMPLES = (
    "rdv verify fraud",
    "rdv verify fraud --since 1h",
    "rdv verify fraud --json | jq '.differences[]'",
)
_SHOWN_MAX = 20
_COLUMNS = (Column("what"), number("count"))


def verify(
    directory: Decision,
    *,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide every recorded request again, and report the differences.

    A decision must follow from the request, its schedule and the recorded arrivals. Also reported:
    requests without a result, and results without a request. The exit code is 1 when there is any.
    """
    from rdv.analysis.dataset.places import Recorded
    from rdv.analysis.verify import verify as check
    from rdv.decision import load_decision

    load_decision(directory)
    since_ns, until_ns = span_ns(since, until)
    output = Output(as_json=as_json, quiet=quiet)
    progress = Progress("verified {:,} requests")
    with Recorded(directory) as recorded, progress:
        found = check(recorded, since_ns, until_ns, progress=progress.advance)
    _render(found, output)
    found.raise_if_broken(directory)


def _render(found: Verification, output: Output) -> None:
    from rdv.analysis.verify.view import counts

    if output.as_json:
        output.json(found.as_json())
        return
    output.table(_COLUMNS, [{"what": what, "count": count} for what, count in counts(found)])
    for one in found.differences[:_SHOWN_MAX]:
        for name, (recorded, replayed) in one.fields.items():
            output.text(f"{one.id}: {name} is {recorded}, should be {replayed}")
    for id_ in found.unanswered_ids[:_SHOWN_MAX]:
        output.text(f"{id_}: no result")
    for id_ in found.notes.strays[:_SHOWN_MAX]:
        output.text(f"{id_}: no request")
    if output.is_human:
        for line in found.remarks():
            output.note(line)
