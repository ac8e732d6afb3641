"""Implement `rdv outcome`: outcomes from the command line, from JSON lines or from CSV.

Each line of a file is checked before anything is recorded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption, NotJson
from rdv.commands.options import Decision, Json, Quiet, need_file
from rdv.commands.output import Output, counting
from rdv.commands.terminal import as_text
from rdv.moment import InvalidMoment
from rdv.payload import UnusableJson
from rdv.rendezvous.messages import Truth

if TYPE_CHECKING:
    from collections.abc import Collection

    from rdv.decision import Decision as DecisionConfig
    from rdv.decision.outcome_file import OutcomeFile

EXAMPLES = (
    "rdv outcome fraud 5ae4f30309242db1ca88000000000000 fraud",
    """rdv outcome fraud 5ae4f30309242db1ca88000000000000 '{"label": 7}' --time 2026-05-01""",
    "rdv outcome fraud --from truths.jsonl",
    "rdv outcome fraud --from chargebacks.csv   # columns: id,outcome or id,outcome,time",
    "rdv outcome fraud --from labels.parquet --id-column request_id --outcome-column is_fraud",
)

_looking_up = partial(counting, "looked up {:,} requests")
_recording = partial(counting, "recorded {:,} outcomes")


def outcome(
    directory: Decision,
    request: Annotated[
        str | None, typer.Argument(metavar="ID", help="The request's complete id.")
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="The outcome: JSON, or a word. null withdraws it."),
    ] = None,
    *,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the outcome became known: ISO (UTC without a zone), or ns since 1970.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Record all outcomes of a file: JSON lines, .csv, .parquet; - reads stdin.",
        ),
    ] = None,
    id_column: Annotated[
        str, typer.Option(metavar="NAME", help="The column (or field) of the ids in the file.")
    ] = "id",
    outcome_column: Annotated[
        str, typer.Option(metavar="NAME", help="The column (or field) of the outcomes.")
    ] = "outcome",
    time_column: Annotated[
        str, typer.Option(metavar="NAME", help="The column (or field) of the times, if there.")
    ] = "time",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record what turned out to be true of requests.

    Outcomes are written into the decision's log directly: no process needs to run. Of several
    outcomes for one request the latest counts, by its time. A file is checked as a whole before any
    of it is recorded: JSON lines, CSV (with , ; tab or |) or Parquet, also .gz. Ids of no recorded
    request are counted; if there are no others, nothing is recorded.
    `whatif`, `optimise`, `replay` and `export` use the outcomes.
    """
    from rdv.decision import load_decision
    from rdv.decision.outcome_file import Columns, OutcomeFile

    decision = load_decision(directory)
    output = Output(as_json=as_json, quiet=quiet)
    if (source is None) == (request is None):
        raise InvalidOption("rdv outcome", "takes ID and VALUE, or --from FILE")
    columns = Columns(id_column, outcome_column, time_column)
    if source is None:
        truth = _one(request or "", value, time, output)
        unknown = len(_unknown(decision, [truth.id]))
        found = {"recorded": _record(decision, [truth]), "unknown_ids": unknown}
    elif time is not None:
        raise InvalidOption("--time", "does not go with --from: its lines have times")
    else:
        file = OutcomeFile(source, columns)
        found = (_record_file if _is_whole(source) else _record_stream)(decision, file)
    if as_json:
        output.json(found)
        return
    count = found["recorded"]
    output.note(f"recorded {count:,} outcome{'s' * (count != 1)} in {directory}")
    if missed := found.get("unknown_ids"):
        what = "id is of no recorded request" if missed == 1 else "ids are of no recorded request"
        output.note(f"{missed:,} {what}: nothing will use what was recorded of them")
    if skipped := found.get("without_outcome"):
        output.note(f"{skipped:,} rows have no outcome: not recorded")
    if words := found.get("words"):
        output.note(f"{words:,} outcomes are words such as NA: they count, as the others are words")


def _one(id_: str, value: str | None, time: str | None, output: Output) -> Truth:
    from time import time_ns as now_ns

    from rdv.commands.units import assumed_utc, bound_of
    from rdv.decision.outcome_file import outcome_json, truth_of_words

    if value is None:
        raise InvalidOption("VALUE", "is missing: what turned out to be true")
    known = None if time is None else bound_of(time, now_ns())
    try:
        outcome = outcome_json(as_text(value, "VALUE"))
        truth = truth_of_words(as_text(id_, "ID"), outcome, known and known.time_ns)
    except UnusableJson as error:
        raise NotJson("the outcome", error.verdict(), error.hint(), error.kind) from None
    except InvalidMoment as error:
        raise InvalidOption("--time", error.text(), error.hint()) from None
    except ValueError as error:
        raise InvalidOption("rdv outcome", f"cannot be recorded: {error}") from None
    if time is not None and known is not None and known.is_assumed_utc:
        output.note(assumed_utc("--time", time, known.time_ns))
    return truth


def _record_file(decision: DecisionConfig, file: OutcomeFile) -> dict[str, Any]:
    """Record the outcomes of a file after every line is checked, and the ids are looked up."""
    from rdv.api.outcomes import record_checked
    from rdv.system.faults import faults

    with faults(file.path, "read"):
        found = record_checked(
            decision, file.truths, file.path, looking_up=_looking_up, recording=_recording
        )
    return {**found._asdict(), **_counts(file)}


def _is_whole(source: str) -> bool:
    """Return whether this is a file that can be read twice, not stdin or a pipe."""
    if source == "-":
        return False
    need_file("--from", source)
    return os.path.isfile(source)


def _unknown(decision: DecisionConfig, ids: Collection[str]) -> Collection[str]:
    from rdv.api.outcomes import unknown_of

    with _looking_up() as progress:
        return unknown_of(decision, ids, progress)


def _record_stream(decision: DecisionConfig, file: OutcomeFile) -> dict[str, Any]:
    """Record outcomes from stdin or a pipe as they come. Their ids are not looked up."""
    with _recording() as progress:
        if file.path == "-":
            count = _record(decision, file.truths_of(sys.stdin.buffer), progress)
        else:
            count = _record(decision, file.truths(), progress)
    return {"recorded": count, **_counts(file)}


def _counts(file: OutcomeFile) -> dict[str, int]:
    words = {"words": file.words} if file.words else {}
    return {"without_outcome": file.skipped, **words}


def _record(
    decision: DecisionConfig,
    truths: Iterable[Truth],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    from rdv.api.outcomes import record_truths

    return record_truths(decision, truths, progress)
