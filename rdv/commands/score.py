"""Implement `rdv score`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision, Json, Quiet, RequestSchedule, need_file, output_file
from rdv.commands.output import Output, Progress

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision.proxies import ProxyAddress, Refused

EXAMPLES = (
    "rdv score fraud rows.parquet -o scored.parquet",
    "rdv score fraud rows.csv.gz -o scored.csv --key-column user",
    "rdv score fraud rows.jsonl -o scored.jsonl --share 0.01",
)
BODY_BYTES_MAX = 512 * 1024
_TIMEOUT_S = 10.0
_TRIES_MAX = 60
_BUSY = (429, 503)


def score(
    directory: Decision,
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The rows: .parquet, .csv, .tsv, .jsonl; also .gz."),
    ],
    *,
    output: Annotated[str, output_file("The file for the answers, of the same kinds.")],
    key_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The column of the keys; it is no part of the data that is scored."
        ),
    ] = None,
    schedule: RequestSchedule = None,
    share: Annotated[
        float,
        typer.Option(metavar="SHARE", help="The share of the places in flight that it may use."),
    ] = 0.05,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a file by the live decision.

    Each row is a request like any other, through a proxy of the running decision, and is recorded.
    One batch of rows is in flight at a time, so that live traffic keeps its SLA. The answers have
    the columns row, id, key, kind, code, reason, model, version, waited_ms, and one for each field
    of the result. A row that is refused has the kind "refused" and its reason. If it is
    interrupted, the same command goes on where it was.
    """
    from rdv.decision import load_decision
    from rdv.decision.answer_file import AnswerFile
    from rdv.decision.proxies import find_proxies, listening
    from rdv.decision.row_file import ending_of, read_rows

    decision = load_decision(directory)
    need_file("FILE", source)
    ending_of(source)
    if not 0 < share <= 1:
        raise InvalidOption("--share", "must be above 0 and at most 1")
    (proxy, *_) = listening(find_proxies(decision))
    shared = _shared(schedule)
    answers = AnswerFile(output, source, {"key_column": key_column, **shared})
    sender = Sender(decision, proxy, shared)
    size = max(1, min(decision.http.rows_max, int(decision.http.in_flight_max * share)))
    begun = answers.done or 0
    try:
        with Progress("scored {:,} rows") as progress:
            progress.advance(begun)
            rows = islice(read_rows(source, key_column), begun, None)
            for first, batch in _batches(rows, size, begun, key_column):
                answers.add(sender.send(first, batch))
                progress.advance(len(batch))
        answers.finish()
    finally:
        answers.close()
    count = begun + sender.rows
    shown = Output(as_json=as_json, quiet=quiet)
    if as_json:
        shown.json({"rows": count, "resumed": begun, "kinds": sender.kinds, "output": output})
    else:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sender.kinds.items())
        shown.note(f"scored {count:,} rows into {output}{f': {kinds}' if kinds else ''}")


def _shared(schedule: str | None) -> dict[str, Any]:
    from rdv.commands.options import schedule_of_request

    return {} if schedule is None else {"schedule": schedule_of_request(schedule)}


def _batches(
    rows: Iterator[dict[str, Any]], size: int, begun: int, key_column: str | None
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield batches of rows in the form of a request, each with the number of its first row."""
    from rdv.errors import LineUnusable

    batch: list[dict[str, Any]] = []
    first, length = begun, 0
    for number, row in enumerate(rows, start=begun):
        one: dict[str, Any] = {"data": row}
        if key_column is not None:
            if key_column not in row:
                raise LineUnusable(number + 1, f"has no column {key_column!r}")
            if (key := row.pop(key_column)) is not None:
                one["key"] = key if isinstance(key, str) else orjson.dumps(key).decode()
        bytes_ = len(orjson.dumps(one))
        if batch and (len(batch) >= size or length + bytes_ > BODY_BYTES_MAX):
            yield first, batch
            first, batch, length = first + len(batch), [], 0
        batch.append(one)
        length += bytes_
    if batch:
        yield first, batch


class Sender:
    """Sends batches to a proxy, and counts the kinds of the answers."""

    def __init__(
        self, decision: DecisionConfig, proxy: ProxyAddress, shared: dict[str, Any]
    ) -> None:
        from rdv.decision.schedules import longest_wait_ms

        self.kinds: dict[str, int] = {}
        self.rows = 0
        self._proxy = proxy
        self._shared = shared
        self._timeout_s = _TIMEOUT_S + longest_wait_ms(decision) / 1000

    def send(self, first: int, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an answer for each row of the batch. Raises Unreachable, Refused."""
        from rdv.decision.proxies import Refused

        found: dict[int, dict[str, Any]] = {}
        left = dict(enumerate(batch))
        while left:
            try:
                answers = self._post(list(left.values()))
            except Refused as error:
                bad = _bad_rows(error, list(left))
                if not bad:
                    raise
                for number, reason in bad.items():
                    found[number] = {"kind": "refused", "code": "bad_input", "reason": reason}
                    del left[number]
                continue
            found |= zip(left, map(_answer, answers), strict=True)
            break
        for number in range(len(batch)):
            kind = found[number]["kind"]
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.rows += len(batch)
        return [
            {"row": first + number, "key": batch[number].get("key"), **found[number]}
            for number in range(len(batch))
        ]

    def _post(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask; a proxy that is full for now is asked again later."""
        from rdv.decision.proxies import Refused, post

        body = orjson.dumps({"rows": rows, **self._shared})
        for attempt in range(_TRIES_MAX):
            try:
                answers: list[dict[str, Any]] = orjson.loads(
                    post(self._proxy, body, self._timeout_s)
                )["answers"]
                return answers
            except Refused as error:
                if error.status not in _BUSY or attempt == _TRIES_MAX - 1:
                    raise
                time.sleep(1.0)  # as Retry-After says
        raise AssertionError


def _bad_rows(error: Refused, numbers: list[int]) -> dict[int, str]:
    """Return the rows that a proxy has refused because of their data, with the reasons."""
    import re

    found: dict[int, str] = {}
    if error.proxy_code != "bad_input":
        return found
    for fault in error.faults:
        match = re.match(r"rows\[(\d+)\]\.", fault["path"])
        place = int(match[1]) if match else 0
        path = fault["path"][match.end() :] if match else fault["path"]
        text = f"{path} {fault['reason']}"
        number = numbers[place]
        found[number] = f"{found[number]}; {text}" if number in found else text
    return found


def _answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer."""
    if (error := answer.get("error")) is not None:
        return {"kind": "refused", "code": error["code"], "reason": error["message"]}
    names = ("id", "kind", "code", "reason", "model", "version", "waited_ms", "result")
    return {name: answer[name] for name in names}
