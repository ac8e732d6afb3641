"""Implement `rdv outcome`: outcomes from the command line, from JSON lines or from CSV.

Each line of a file is checked before anything is recorded.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from time import time_ns
from typing import IO, TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
import typer

from rdv.commands.errors import InvalidOption, NotJson
from rdv.commands.options import Decision, Json, Quiet, need_file
from rdv.commands.output import Output, Progress
from rdv.commands.terminal import as_text
from rdv.errors import LineUnusable
from rdv.moment import InvalidMoment
from rdv.payload import DEPTH_MAX, UnusableJson, check_numbers_and_depth, read_json, unreadable
from rdv.rendezvous.messages import ReportedOutcome, Truth

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.rendezvous.messages import Truth

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
            help="Record all outcomes of a file: JSON lines, or .csv; - reads stdin.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record what turned out to be true of requests.

    Outcomes are written into the decision's log directly: no process needs to run. Of several
    outcomes for one request the latest counts, by its time. An outcome for an unknown id is
    recorded too, but never joined. A file is checked as a whole before any of it is recorded.
    `whatif`, `optimise`, `replay` and `export` use the outcomes.
    """
    from rdv.decision import load_decision

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
    from rdv.commands.units import assumed_utc
    from rdv.moment import InvalidMoment, read_moment

    if value is None:
        raise InvalidOption("VALUE", "is missing: what turned out to be true")
    try:
        truth = truth_of_words(as_text(id_, "ID"), as_text(value, "VALUE"), time)
    except InvalidMoment as error:
        raise InvalidOption("--time", error.text(), error.hint()) from None
    except ValueError as error:
        raise InvalidOption("rdv outcome", f"cannot be recorded: {error}") from None
    if time is not None and read_moment(time).is_assumed_utc:
        output.note(assumed_utc("--time", time))
    return truth


def _record_file(decision: DecisionConfig, source: str) -> int:
    """Record outcomes from stdin as they come; those of a file after every line is checked."""
    from rdv.system.faults import faults

    with Progress("recorded {:,} outcomes") as progress:
        if source == "-":
            return _record(decision, _read(source, sys.stdin.buffer), progress)
        need_file("--from", source)
        with faults(source, "read"), open(source, "rb") as file:
            for _ in _read(source, file):
                pass
            file.seek(0)
            return _record(decision, _read(source, file), progress)


def _read(source: str, file: IO[bytes]) -> Iterator[Truth]:
    read = truths_of_csv if source.lower().endswith(".csv") else truths_of_lines
    return read(_lines(file))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
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
    from rdv.decision.streams import open_outcomes
    from rdv.rendezvous.messages import encode_truth, with_source
    from rdv.rendezvous.topology import CLI_TOPIC
    from rdv.serve.outbox import send_fitting

    config = decision.log.stream_config(decision.partitions)
    rest, count = with_source(f"cli:{_user()}", truths), 0
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


LINE_BYTES_MAX = 1024 * 1024
_COLUMNS = ("id", "outcome", "time")
_EXAMPLE = 'For example {"id": "5ae4f303…", "outcome": 1}'
_decode = msgspec.json.Decoder(ReportedOutcome).decode


def truth_of_words(id_: str, value: str, time: str | None) -> Truth:
    """Return one outcome from a command line. Raises NotJson, InvalidMoment, ValueError."""
    return _checked(id_, outcome_json(value, "the outcome"), time)


def outcome_json(text: str, what: str) -> bytes:
    """Return `text` as JSON; a word that is not JSON is a string. Raises NotJson."""
    try:
        read_json(text)
    except UnusableJson as error:
        is_meant = error.kind != "malformed_json" or text.lstrip()[:1] in ("{", "[", '"')
        if is_meant or not _is_text(text):
            raise NotJson(what, error.verdict(), error.hint(), error.kind) from None
        return orjson.dumps(text)
    return text.strip().encode()


def _is_text(text: str) -> bool:
    """Return whether the argument is text, not bytes that are not UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def truths_of_lines(lines: Iterable[bytes]) -> Iterator[Truth]:
    """Read outcomes from JSON lines, in the form of `POST /v1/outcomes`. Raises LineUnusable."""
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            yield _reported(line).truth(time_ns())
        except UnusableJson as error:
            raise LineUnusable(number, error.verdict(), error.hint(), error.kind) from None
        except InvalidMoment as error:
            raise _time_unusable(number, error) from None
        except (msgspec.ValidationError, ValueError) as error:
            raise LineUnusable(number, f"is not an outcome: {error}", _EXAMPLE) from None


def _reported(line: bytes) -> ReportedOutcome:
    """Decode an outcome. Raises UnusableJson, msgspec.ValidationError."""
    check_numbers_and_depth(line, DEPTH_MAX + 1)
    try:
        line.decode()
        return _decode(line)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(line, error) from None


def truths_of_csv(lines: Iterable[bytes]) -> Iterator[Truth]:
    """Read outcomes from CSV whose first line names the columns id, outcome and (optionally) time.

    Other columns are ignored; an outcome that is not JSON is a string. Raises LineUnusable.
    """
    reader = csv.reader(_texts(lines), strict=True)
    places: dict[str, int] | None = None
    try:
        for row in reader:
            if places is None:
                places = _places(row)
            elif row:
                yield _truth_of_row(reader.line_num, row, places)
    except csv.Error as error:
        raise LineUnusable(reader.line_num, f"is not CSV: {error}") from None


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise LineUnusable(number, "is not UTF-8") from None
        yield text


def _places(names: list[str]) -> dict[str, int]:
    places = {name.strip().lower(): number for number, name in enumerate(names)}
    if missing := [name for name in _COLUMNS[:2] if name not in places]:
        advice = "The first line names the columns: id,outcome or id,outcome,time"
        raise LineUnusable(1, f"names no column {missing[0]!r}", advice)
    return {name: places[name] for name in _COLUMNS if name in places}


def _truth_of_row(number: int, row: list[str], places: dict[str, int]) -> Truth:
    try:
        cells = {name: row[at] for name, at in places.items()}
    except IndexError:
        raise LineUnusable(number, "has fewer columns than the first") from None
    try:
        outcome = outcome_json(cells["outcome"], "its outcome")
        return _checked(cells["id"], outcome, cells.get("time") or None)
    except InvalidMoment as error:
        raise _time_unusable(number, error) from None
    except NotJson as error:
        reason = f"cannot be used: {error.text()}"
        raise LineUnusable(number, reason, error.hint(), error.json_kind) from None
    except ValueError as error:
        raise LineUnusable(number, f"is not an outcome: {error}") from None


def _checked(id_: str, outcome: bytes, time: str | None) -> Truth:
    """Return an outcome, checked against the limits of a message. Raises ValueError."""
    fields: dict[str, Any] = {"id": id_, "outcome": msgspec.Raw(outcome)}
    if time is not None:
        fields["time"] = time
    return _decode(msgspec.json.encode(fields)).truth(time_ns())


def _time_unusable(number: int, error: InvalidMoment) -> LineUnusable:
    reason = f"has an unusable time: {error.text()}"
    return LineUnusable(number, reason, error.hint(), "invalid_time")
