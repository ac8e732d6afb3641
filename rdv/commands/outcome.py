"""Implement `rdv outcome`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption, LineUnusable
from rdv.commands.files import need_file
from rdv.commands.options import Decision, Json, Quiet
from rdv.commands.output import Output
from rdv.commands.progress import Progress
from rdv.commands.terminal import said

if TYPE_CHECKING:
    from rdv.config import Decision as DecisionConfig
    from rdv.messages import Truth

EXAMPLES = (
    "rdv outcome fraud 5ae4f30309242db1ca88000000000000 fraud",
    """rdv outcome fraud 5ae4f30309242db1ca88000000000000 '{"label": 7}' --time 2026-05-01""",
    "rdv outcome fraud --from truths.jsonl",
    "rdv outcome fraud --from chargebacks.csv   # columns: id,outcome or id,outcome,time",
)
BATCH = 1_000


def outcome(
    directory: Decision,
    request: Annotated[
        str | None, typer.Argument(metavar="ID", help="The request's id, whole.")
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="What was true: JSON, or a word. null takes it back."),
    ] = None,
    *,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When it was known: ISO (UTC without a zone), or ns since 1970."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Many: JSON lines, or .csv; - reads stdin."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell what turned out to be true of requests.

    Written straight into the decision's log: nothing needs to be running. Of several outcomes for
    one request the latest counts, by its time. An outcome for an unknown id is recorded too, but
    never joined. A file is checked as a whole before any of it is recorded. `whatif`, `optimise`,
    `replay` and `export` use the outcomes.
    """
    from rdv.config import load_decision

    decision = load_decision(directory)
    output = Output(as_json=as_json, quiet=quiet)
    if (source is None) == (request is None):
        raise InvalidOption("rdv outcome", "takes ID and VALUE, or --from FILE")
    if source is not None:
        if time is not None:
            raise InvalidOption("--time", "does not go with --from: its lines have times")
        count = _record_file(decision, source)
    else:
        count = _record(decision, [_one(request or "", value, time, output)])
    if as_json:
        output.json({"recorded": count})
    else:
        output.note(f"recorded {count:,} outcome{'s' * (count != 1)} in {directory}")


def _one(id_: str, value: str | None, time: str | None, output: Output) -> Truth:
    from rdv.commands.telling.truths import truth_of_words
    from rdv.commands.units import assumed_utc
    from rdv.moment import InvalidMoment, read_moment

    if value is None:
        raise InvalidOption("VALUE", "is missing: what turned out to be true")
    try:
        truth = truth_of_words(said(id_, "ID"), said(value, "VALUE"), time)
    except InvalidMoment as error:
        raise InvalidOption("--time", error.text(), error.hint()) from None
    except ValueError as error:
        raise InvalidOption("rdv outcome", f"cannot be recorded: {error}") from None
    if time is not None and read_moment(time).is_assumed_utc:
        output.note(assumed_utc("--time", time))
    return truth


def _record_file(decision: DecisionConfig, source: str) -> int:
    """Record outcomes from stdin as they come; of a file, check every line before the first is
    recorded.
    """
    from rdv.stream.file.disk import faults

    def describe(done: int, _: int) -> str:
        return f"recorded {done:,} outcomes"

    with Progress(describe) as progress:
        if source == "-":
            return _record(decision, _read(source, sys.stdin.buffer), progress)
        need_file("--from", source)
        with faults(source, "read"), open(source, "rb") as file:
            for _ in _read(source, file):
                pass
            file.seek(0)
            return _record(decision, _read(source, file), progress)


def _read(source: str, file: IO[bytes]) -> Iterator[Truth]:
    from rdv.commands.telling.truths import truths_of_csv, truths_of_lines

    read = truths_of_csv if source.lower().endswith(".csv") else truths_of_lines
    return read(_lines(file))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    from rdv.commands.telling.truths import LINE_BYTES_MAX

    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise LineUnusable(number, f"is longer than {LINE_BYTES_MAX:,} bytes")
        yield line


def _record(
    decision: DecisionConfig, truths: Iterable[Truth], progress: Progress | None = None
) -> int:
    """Record outcomes in batches; return the number."""
    from rdv.components.places import CLI_TOPIC, open_outcomes
    from rdv.components.sending import send_fitting
    from rdv.messages import encode_truth, told_by

    config = decision.log.stream_config(decision.partitions)
    rest, count = told_by(f"cli:{_user()}", truths), 0
    with open_outcomes(decision.directory, config) as stream, stream.producer() as producer:
        while batch := list(islice(rest, BATCH)):
            lines = [encode_truth(truth) for truth in batch]
            for error in send_fitting(producer, CLI_TOPIC, lines, 0).values():
                raise error
            count += len(batch)
            if progress is not None:
                progress.advance(len(batch))
    return count


def _user() -> str:
    """Return the user that runs the command, from the system, not from the environment."""
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
